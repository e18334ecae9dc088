// The agents that are chosen, on the map and in the table, and what can be done with all of them at once.
import {Choice, groupsOf} from "../choice.js";
import {html} from "../lib/ui.js";
import {link} from "../link.js";
import {useLatest} from "../live.js";
import {SteerButton} from "../steer.js";
import {groupOf} from "../table.js";

export const choice = new Choice();
const ACTS = ["pause", "resume", "restart", "stop"];

// Does something with the choice, and has all draw it who show it.
export function choose(act) {
  act(choice);
  link.tell({kind: "chosen"});
}

// Agents that are gone are chosen no longer.
let rows = null;
link.on("seen", ({table}) => {
  if (table.places === rows) return;
  rows = table.places;
  if (choice.keep(rows)) link.tell({kind: "chosen"});
});

// The agents that can be steered here: those of other nodes are steered on pages of their own.
export function steerable() {
  const {agents} = link.table;
  return agents.name.filter((_, place) => !agents.node[place]);
}

export function ChosenBar({found}) {
  useLatest("chosen", "hello", "about");
  const groups = groupsOf(steerable(), groupOf);
  const pick = (event) => {
    const group = event.target.value;
    event.target.value = "";
    choose((chosen) => chosen.add(steerable().filter((name) => groupOf(name) === group)));
  };
  return html`<div class="chosen-agents" role="group" aria-label="Agents that are chosen">
    <button disabled=${!found.length} onClick=${() => choose((chosen) => chosen.add(found))}>Choose all ${found.length} below</button>
    <label>Choose a group <select class="group" value="" onChange=${pick}><option value="">…</option>
      ${groups.map(([group, many]) => html`<option key=${group} value=${group}>${group} (${many})</option>`)}</select></label>
    <span role="status">${choice.size === 1 ? "1 agent is chosen" : `${choice.size} agents are chosen`}</span>
    ${choice.size ? html`${ACTS.map((act) => html`<${SteerButton} key=${act} act=${act} names=${[...choice.names]} />`)}
      <button class="clear" onClick=${() => choose((chosen) => chosen.clear())}>Choose none</button>` : null}
    <span class="quiet">Shift chooses a range, on the map also with the arrow keys; the space bar chooses one.</span>
  </div>`;
}

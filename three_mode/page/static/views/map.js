// The map: hosts as boxes, agents as cells, flows between groups, a panel of one agent, and tables with the same.
import {html, useState} from "../lib/ui.js";
import {useLatest, useTable} from "../live.js";
import {LogLevel, SteerButton, WhyNot} from "../steer.js";
import {agentPlace, bytes, count, seconds} from "../words.js";
import {AgentPanel} from "./agent.js";
import {Cells} from "./cells.js";
import {ChosenBar, choice, choose} from "./chosen.js";
import {Flows} from "./flows.js";

const LEGEND = [["cell", "idle"], ["busy", "busy"], ["accent", "had messages just now"], ["quiet", "paused"], ["bad", "errors, restarting or given up"]];

export function MapView({rest}) {
  const [by, setBy] = useState("state");
  return html`<section class=${rest ? "map with-agent" : "map"}>
    <div class="field">
      <p class="legend"><label>Colour by <select value=${by} onChange=${(event) => setBy(event.target.value)}>
        <option value="state">state</option><option value="load">load</option></select></label>
        ${by === "state" ? LEGEND.map(([colour, text]) => html`<span key=${text}><i class=${`swatch ${colour}`}></i>${text}</span>`)
          : html`<span>The stronger, the more messages a second and in the mailbox</span>`}</p>
      <${Cells} opened=${rest} by=${by} />
      <${Flows} />
      <${HostTable} />
      <${AgentTable} />
    </div>
    ${rest ? html`<${AgentPanel} name=${rest} />` : null}
  </section>`;
}

function HostTable() {
  const table = useTable();
  const titles = ["Host", "State", "Agents", "CPU", "Memory", "Messages", "A second", "Errors", "Restarts", "p50", "p99", "Steer"];
  return html`<table class="hosts">
    <caption>Hosts</caption>
    <thead><tr>${titles.map((name) => html`<th scope="col" key=${name}>${name}</th>`)}</tr></thead>
    <tbody>${table.byHost().map((host) => html`<tr key=${`${host.node}\n${host.label}`}>
      <th scope="row">${host.node ? `${host.node}: ` : ""}${host.label}</th><td>${host.blocked || host.state}</td>
      <td class="number">${host.agents}</td><td>${count(host.cpu_percent)} %</td><td>${bytes(host.memory)}</td>
      <td class="number">${count(host.messages)}</td><td class="number">${count(table.totalRates.get(`${host.node}\n${host.label}`))}</td><td class="number">${host.errors}</td><td class="number">${host.restarts}</td>
      <td>${seconds(host.p50)}</td><td>${seconds(host.p99)}</td>
      <td>${host.node ? null : html`<${SteerButton} act="kill" names=${[host.label]} title=${`Kill ${host.label}`} />`}</td></tr>`)}</tbody>
  </table>
  ${table.head.nodes.length ? html`<${NodeTable} nodes=${table.head.nodes} rates=${table.totalRates} />` : null}
  <${LogLevel} /><${WhyNot} />`;
}

function NodeTable({nodes, rates}) {
  const titles = ["Node", "State", "Kind", "Hosts", "Agents", "CPU", "Memory", "Messages", "A second", "Version", "Problem"];
  return html`<table class="nodes"><caption>Nodes of the cluster</caption>
    <thead><tr>${titles.map((name) => html`<th scope="col" key=${name}>${name}</th>`)}</tr></thead>
    <tbody>${nodes.map((node) => html`<tr key=${node.name}><th scope="row">${node.name}</th><td>${node.state}</td><td>${node.kind}</td>
      <td class="number">${node.hosts}</td><td class="number">${node.agents}</td><td>${count(node.cpu_percent)} %</td><td>${bytes(node.memory)}</td>
      <td class="number">${count(node.messages)}</td><td class="number">${count(rates.get(node.name))}</td><td>${node.version}</td>
      <td class="says">${[node.problem, node.silent.length ? `no answer from ${node.silent.join(", ")}` : ""].filter(Boolean).join("; ")}</td></tr>`)}</tbody></table>`;
}

const PAGE = 50;

function AgentTable() {
  const table = useTable();
  useLatest("chosen");
  const [wanted, setWanted] = useState("");
  const [first, setFirst] = useState(0);
  const {agents} = table;
  const found = agents.name.map((_, place) => place).filter((place) => !wanted || agents.name[place].includes(wanted) || agents.state[place] === wanted);
  const at = Math.min(first, Math.max(0, found.length - 1));
  const titles = ["Chosen", "Agent", "Class", "Host", "State", "Mailbox", "Messages", "Errors", "p99"];
  const ours = found.filter((place) => !agents.node[place]).map((place) => agents.name[place]);
  const pick = (name) => (event) => {
    const {checked} = event.target;
    choose((chosen) => (event.shiftKey ? chosen.reach(ours, name, checked) : chosen.set(name, checked)));
  };
  return html`<form class="filter" onSubmit=${(event) => event.preventDefault()}>
      <label>Agents whose name has, or whose state is <input type="search" value=${wanted}
        onInput=${(event) => { setWanted(event.target.value); setFirst(0); }} /></label></form>
    <${ChosenBar} found=${ours} />
    <table class="agents">
    <caption>${found.length} of ${table.size} agents${table.head.left_out ? `; ${table.head.left_out} more are not shown` : ""}</caption>
    <thead><tr>${titles.map((name) => html`<th scope="col" key=${name}>${name}</th>`)}</tr></thead>
    <tbody>${found.slice(at, at + PAGE).map((place) => html`<tr key=${`${agents.node[place]}\n${agents.name[place]}`}>
      <td>${agents.node[place] ? null : html`<input type="checkbox" aria-label=${`Choose ${agents.name[place]}`}
        checked=${choice.has(agents.name[place])} onClick=${pick(agents.name[place])} />`}</td>
      <th scope="row"><a href=${agentPlace(agents.name[place])}>${agents.name[place]}</a></th><td>${agents.kind[place]}</td>
      <td>${agents.host[place]}</td><td>${agents.state[place]}</td><td class="number">${agents.mailbox[place]}</td>
      <td class="number">${count(agents.messages[place])}</td><td class="number">${agents.errors[place]}</td>
      <td>${seconds(agents.p99[place])}</td></tr>`)}</tbody>
  </table>
  ${found.length > PAGE ? html`<p class="buttons">
    <button disabled=${at === 0} onClick=${() => setFirst(Math.max(0, at - PAGE))}>Before</button>
    <span>${at + 1} to ${Math.min(found.length, at + PAGE)}</span>
    <button disabled=${at + PAGE >= found.length} onClick=${() => setFirst(at + PAGE)}>After</button></p>` : null}`;
}

// The map: hosts as boxes, agents as cells, and a table beside it.
import {html} from "../lib/ui.js";
import {useTable} from "../live.js";
import {bytes, count, seconds} from "../words.js";

export function MapView() {
  const table = useTable();
  return html`<section class="map">
    <${HostTable} table=${table} />
    <${AgentTable} table=${table} />
  </section>`;
}

function HostTable({table}) {
  return html`<table class="hosts">
    <caption>Hosts</caption>
    <thead><tr>${["Host", "State", "Agents", "CPU", "Memory", "Messages", "Errors", "p50", "p99"].map((name) => html`
      <th scope="col" key=${name}>${name}</th>`)}</tr></thead>
    <tbody>${table.byHost().map((host) => html`<tr key=${host.node + host.label}>
      <th scope="row">${host.node ? `${host.node}: ` : ""}${host.label}</th><td>${host.state}</td><td>${host.agents}</td>
      <td>${count(host.cpu_percent)} %</td><td>${bytes(host.memory)}</td><td>${count(host.messages)}</td>
      <td>${host.errors}</td><td>${seconds(host.p50)}</td><td>${seconds(host.p99)}</td></tr>`)}</tbody>
  </table>`;
}

const MOST_ROWS = 200;

function AgentTable({table}) {
  const {agents} = table;
  return html`<table class="agents">
    <caption>${table.size} agents${table.size > MOST_ROWS ? `, the first ${MOST_ROWS}` : ""}</caption>
    <thead><tr>${["Agent", "Class", "Host", "State", "Mailbox", "Messages", "Errors"].map((name) => html`
      <th scope="col" key=${name}>${name}</th>`)}</tr></thead>
    <tbody>${agents.name.slice(0, MOST_ROWS).map((name, place) => html`<tr key=${name}>
      <th scope="row"><a href=${`#/map/${name}`}>${name}</a></th><td>${agents.kind[place]}</td><td>${agents.host[place]}</td>
      <td>${agents.state[place]}</td><td>${agents.mailbox[place]}</td><td>${count(agents.messages[place])}</td>
      <td>${agents.errors[place]}</td></tr>`)}</tbody>
  </table>`;
}

// One agent: what it is doing, its mailbox, handlers, last messages and errors, and where it is written.
import {html, useEffect, useRef} from "../lib/ui.js";
import {link} from "../link.js";
import {useLatest} from "../live.js";
import {SteerButton, WhyNot} from "../steer.js";
import {bytes, clock, count, seconds} from "../words.js";

export function AgentPanel({name}) {
  useLatest("agent", "seen");
  const told = link.latest("agent");
  const sight = told?.name === name ? told.sight : undefined;
  const row = link.table.agent(name);
  const head = useRef(null);
  useEffect(() => head.current.focus(), [name]);
  const close = (event) => { if (event.key === "Escape") location.hash = "#/map"; };
  return html`<aside class="agent" aria-labelledby="agent-name" onKeyDown=${close}>
    <h2 id="agent-name" ref=${head} tabindex="-1">${name}</h2>
    <a class="close" href="#/map">Close</a>
    ${row ? html`<${Doing} row=${row} />` : html`<p>No agent of this name runs.</p>`}
    ${row && !row.node ? html`<p class="buttons">
      ${row.state === "paused" ? html`<${SteerButton} act="resume" names=${[name]} />`
        : html`<${SteerButton} act="pause" names=${[name]} />`}
      <${SteerButton} act="restart" names=${[name]} /><${SteerButton} act="stop" names=${[name]} />
    </p><${WhyNot} />` : null}
    ${sight ? html`<${Sight} sight=${sight} />`
      : html`<p class="quiet">${row?.node ? "An agent of another node: its own page shows more." : "Nothing was counted of it yet."}</p>`}
  </aside>`;
}

function Doing({row}) {
  const facts = [
    ["Class", row.kind], ["Host", row.node ? `${row.node}: ${row.host}` : row.host],
    ["State", row.doing ? `${row.state} in ${row.doing}` : row.state], ["Mailbox", row.mailbox],
    ["Messages", `${count(row.messages)} (${count(row.rate)} a second)`], ["Errors", row.errors], ["Gaps", row.gaps],
    ["Restarts", row.restarts], ["Takes", `p50 ${seconds(row.p50)}, p99 ${seconds(row.p99)}`],
    ["Last error", row.last_error],
  ];
  return html`<dl>${facts.filter(([, value]) => value !== "").map(([what, value]) => html`
    <div key=${what}><dt>${what}</dt><dd>${value}</dd></div>`)}</dl>`;
}

function Sight({sight}) {
  const shows = (link.latest("hello") ?? {}).content;
  return html`
    <p class="quiet source">${sight.file ? `${sight.file}:${sight.line}` : "its source is not at hand"}</p>
    <table><caption>Handlers, since ${clock(sight.since)}</caption>
      <thead><tr>${["Handler", "Messages", "Errors", "p50", "p99", "Line"].map((title) => html`
        <th scope="col" key=${title}>${title}</th>`)}</tr></thead>
      <tbody>${sight.handlers.map((handler) => html`<tr key=${handler.name}>
        <th scope="row">${handler.name}${handler.topics.length ? ` (${handler.topics.join(", ")})` : ""}${handler.streams ? " (stream)" : ""}</th>
        <td class="number">${count(handler.count)}</td><td class="number">${handler.errors}</td><td>${seconds(handler.p50)}</td>
        <td>${seconds(handler.p99)}</td><td>${handler.line || ""}</td></tr>`)}</tbody></table>
    <${Messages} title=${`Mailbox: ${sight.waiting.length} of at most ${sight.limit} shown`} messages=${sight.waiting} shows=${false} />
    <${Messages} title="Last messages" messages=${sight.messages} shows=${shows} />
    ${shows ? null : html`<p class="quiet">What messages say is not shown: OrchestratorOptions(page_content=True) allows it.</p>`}
    <${Messages} title="Last errors" messages=${sight.errors} shows=${false} />`;
}

function Messages({title, messages, shows}) {
  if (!messages.length) return html`<p class="quiet">${title}: none</p>`;
  return html`<table><caption>${title}</caption>
    <thead><tr>${["When", "From", "Handler", "Size", "Outcome", "Took", ...(shows ? ["Says"] : [])].map((name) => html`
      <th scope="col" key=${name}>${name}</th>`)}</tr></thead>
    <tbody>${messages.map((message, index) => html`<tr key=${index}>
      <td>${clock(message.when)}</td><td>${message.sender}</td><td>${message.handler}</td><td>${bytes(message.size)}</td>
      <td class="outcome">${message.outcome}</td><td>${seconds(message.seconds)}</td>
      ${shows ? html`<td class="says">${message.content}</td>` : null}</tr>`)}</tbody></table>`;
}

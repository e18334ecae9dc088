// Events: hosts, agents, dead letters, gaps, receipts and steering, newest first, in a list that filters.
import {html, useState} from "../lib/ui.js";
import {useLatest} from "../live.js";
import {Rows, has} from "../rows.js";
import {clock} from "../words.js";

const SHOWN = 200;
const events = new Rows("events");

export function EventsView() {
  useLatest("events");
  const [filter, setFilter] = useState({what: "", agent: "", text: ""});
  const kinds = [...new Set(events.rows.map((row) => row[1]))].sort();
  const found = events.rows.filter((row) => passes(row, filter)).reverse();
  const set = (name) => (event) => setFilter({...filter, [name]: event.target.value});
  return html`<section class="events">
    <form class="filter" onSubmit=${(event) => event.preventDefault()}>
      <label>Kind <select value=${filter.what} onChange=${set("what")}><option value="">all</option>
        ${kinds.map((kind) => html`<option key=${kind} value=${kind}>${kind}</option>`)}</select></label>
      <label>Agent or host <input type="search" value=${filter.agent} onInput=${set("agent")} /></label>
      <label>Text <input type="search" value=${filter.text} onInput=${set("text")} /></label>
    </form>
    <table><caption>${found.length} of ${events.rows.length} events, the newest first${found.length > SHOWN ? `; ${SHOWN} are shown` : ""}${
      events.leftOut ? `; ${events.leftOut} older ones are no longer kept` : ""}</caption>
      <thead><tr>${["When", "Kind", "Agent or host", "What"].map((name) => html`<th scope="col" key=${name}>${name}</th>`)}</tr></thead>
      <tbody>${found.slice(0, SHOWN).map(([when, what, agent, text], index) => html`<tr key=${`${found.length - index}`}>
        <td>${clock(when)}</td><td class=${`kind ${what}`}>${what.replaceAll("_", " ")}</td><td>${agent}</td><td class="says">${text}</td></tr>`)}</tbody>
    </table>
  </section>`;
}

function passes([, what, agent, text], filter) {
  return (!filter.what || what === filter.what) && (has(agent, filter.agent) || has(text, filter.agent)) && has(text, filter.text);
}

// Log records of the program and its hosts, newest first, in a list that filters.
import {html, useState} from "../lib/ui.js";
import {useLatest} from "../live.js";
import {Rows, has} from "../rows.js";
import {LogLevel, WhyNot} from "../steer.js";
import {clock} from "../words.js";

const SHOWN = 200;
const LEVELS = [["all", 0], ["INFO and above", 20], ["WARNING and above", 30], ["ERROR and above", 40]];
const NAMES = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR", 50: "CRITICAL"};
const logs = new Rows("logs");

export function LogsView() {
  useLatest("logs");
  const [filter, setFilter] = useState({level: 0, from: "", text: ""});
  const found = logs.rows.filter((row) => passes(row, filter)).reverse();
  const set = (name) => (event) => setFilter({...filter, [name]: event.target.value});
  return html`<section class="logs">
    <form class="filter" onSubmit=${(event) => event.preventDefault()}>
      <label>Level <select value=${filter.level} onChange=${set("level")}>
        ${LEVELS.map(([title, level]) => html`<option key=${level} value=${level}>${title}</option>`)}</select></label>
      <label>Agent, host or logger <input type="search" value=${filter.from} onInput=${set("from")} /></label>
      <label>Text <input type="search" value=${filter.text} onInput=${set("text")} /></label>
    </form>
    <${LogLevel} /><${WhyNot} />
    <table><caption>${found.length} of ${logs.rows.length} log records since somebody looks, the newest first${
      found.length > SHOWN ? `; ${SHOWN} are shown` : ""}${logs.leftOut ? `; ${logs.leftOut} older ones are no longer kept` : ""}${
      logs.lost ? `; ${logs.lost} came too fast and are lost` : ""}</caption>
      <thead><tr>${["When", "Level", "Agent or host", "Logger", "What", "Where"].map((name) => html`<th scope="col" key=${name}>${name}</th>`)}</tr></thead>
      <tbody>${found.slice(0, SHOWN).map((row, index) => html`<${Line} key=${`${found.length - index}`} row=${row} />`)}</tbody>
    </table>
  </section>`;
}

function Line({row: [when, level, logger, host, agent, text, place, traceback]}) {
  return html`<tr><td>${clock(when)}</td><td class=${`level-${Math.min(5, Math.floor(level / 10))}`}>${level ? NAMES[level] ?? level : ""}</td>
    <td>${agent || host || (level ? "program" : "")}${agent && host ? html` <span class="quiet">${host}</span>` : null}</td><td>${logger}</td>
    <td class="says">${text}${traceback ? html`<details><summary>Traceback</summary><pre>${traceback}</pre></details>` : null}</td><td>${place}</td></tr>`;
}

function passes([, level, logger, host, agent, text, , traceback], filter) {
  return (!level || level >= Number(filter.level))
    && (has(agent, filter.from) || has(host, filter.from) || has(logger, filter.from))
    && (has(text, filter.text) || has(traceback, filter.text));
}

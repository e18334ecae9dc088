// Models and money: what each model does just now, what was paid, and what limits calls.
import {html, useEffect, useRef} from "../lib/ui.js";
import {link} from "../link.js";
import {useLatest} from "../live.js";
import {bytes, clock, count, dollars, seconds, share} from "../words.js";

const KEPT = 60; // readings of a small line
const lines = new Map(); // model -> its tokens a second so far

function keyOf(model) {
  return [model.where, model.agent, model.name].join("\n");
}

link.on("models", (message) => {
  const there = new Set();
  for (const model of message.models) {
    const key = keyOf(model);
    there.add(key);
    lines.set(key, [...(lines.get(key) ?? []), model.tokens_per_second ?? 0].slice(-KEPT));
  }
  for (const key of lines.keys()) if (!there.has(key)) lines.delete(key);
});

export function ModelsView() {
  const message = useLatest("models");
  if (!message) return html`<p role="status">Asking models and hosts …</p>`;
  return html`<section class="models">
    ${message.silent.length ? html`<p class="gap" role="status">No answer from ${message.silent.join(", ")}: its figures
      are missing here.</p>` : null}
    <${ModelTable} models=${message.models} />
    <${Total} total=${message.total} at=${message.at} />
    <${Budgets} budgets=${message.budgets} />
    <${Money} caption="By provider" kind="providers" rows=${message.providers} />
    <${Money} caption="By model" kind="spent" rows=${message.spent} />
    <${Money} caption="By label" kind="labels" rows=${message.labels} />
    <${Calls} rows=${message.calls} />
    <${Breakers} rows=${message.breakers} />
    <${Limiters} rows=${message.limiters} />
  </section>`;
}

// A table with a caption, or a sentence where it would be empty. A row is its cells, the first of which names it.
function Table({caption, kind, heads, rows, none}) {
  if (!rows.length) return none ? html`<p class="none">${none}</p>` : null;
  return html`<table class=${kind}>
    <caption>${caption}</caption>
    <thead><tr>${heads.map((head) => html`<th scope="col" key=${head}>${head}</th>`)}</tr></thead>
    <tbody>${rows.map(([name, ...cells], place) => html`<tr key=${place}>
      <th scope="row">${name}</th>${cells.map((cell, column) => html`<td key=${column}>${cell}</td>`)}</tr>`)}</tbody>
  </table>`;
}

function ModelTable({models}) {
  const heads = ["Model", "Where", "Tokens/s", "Last minute", "Prompt/s", "Running", "Queue", "Batch", "KV cache",
    "Prefix hits", "Finished", "Cancelled", "Failed", "Memory"];
  const rows = models.map((model) => [
    model.name,
    model.agent ? `${model.agent} on ${model.where}` : model.where,
    rate(model.tokens_per_second),
    html`<${Sparkline} values=${lines.get(keyOf(model)) ?? []} />`,
    rate(model.prompt_per_second),
    `${model.running} of ${model.sequences}${model.width > model.sequences ? ` (up to ${model.width})` : ""}`,
    model.waiting,
    model.batch === null ? "–" : model.batch.toFixed(1),
    html`<meter min="0" max=${Math.max(model.pool, 1)} value=${model.used_tokens}
      aria-label=${`KV cache of ${model.name}`}></meter>${` ${share(model.used_tokens, model.pool)}`}`,
    share(model.prefix_hits, 1),
    model.finished,
    model.cancelled,
    failures(model),
    bytes(model.memory_bytes),
  ]);
  return html`<${Table} caption="Models of this computer" kind="local" heads=${heads} rows=${rows}
    none="No model of this computer is loaded." />`;
}

// Everything that went wrong, in words; "0" where nothing did.
function failures(model) {
  const said = [[model.failed, "failed"], [model.expired, "late"], [model.refused, "refused"],
    [model.preempted, "preempted"], [model.restarts, "restarts"]].filter(([number]) => number);
  return said.map(([number, word]) => `${number} ${word}`).join(", ") || "0";
}

function rate(value) {
  return value === null ? "–" : value < 10 ? value.toFixed(1) : count(value);
}

// A small line. The figures beside it say the same, so that it is hidden from screen readers.
function Sparkline({values}) {
  const canvas = useRef(null);
  useEffect(() => {
    const shown = canvas.current;
    const ink = shown.getContext("2d");
    const scale = devicePixelRatio || 1;
    const [width, height] = [90, 18];
    shown.width = width * scale;
    shown.height = height * scale;
    ink.scale(scale, scale);
    ink.clearRect(0, 0, width, height);
    ink.strokeStyle = getComputedStyle(shown).color;
    ink.lineWidth = 1.5;
    const most = Math.max(...values, 1);
    ink.beginPath();
    values.forEach((value, place) => {
      ink.lineTo((width * place) / (KEPT - 1), height - 2 - ((height - 4) * value) / most);
    });
    ink.stroke();
  });
  return html`<canvas class="sparkline" ref=${canvas} aria-hidden="true"></canvas>`;
}

function Total({total, at}) {
  const unpriced = total.unpriced ? ` (${total.unpriced} of them have no known price)` : "";
  const tokens = [[total.input_tokens, "in"], [total.output_tokens, "out"], [total.cached_tokens, "from caches"]];
  const used = tokens.map(([number, word]) => `${count(number)} ${word}`).join(", ");
  return html`<p class="total">${`${dollars(total.cost)} for ${calls(total.calls)}${unpriced}. Tokens: ${used}. ${clock(at)}`}</p>`;
}

function calls(number) {
  return number === 1 ? "1 call" : `${number} calls`;
}

function Budgets({budgets}) {
  const rows = budgets.map(({name, where, limit, left}) => {
    const spent = Number(limit) - Number(left);
    return [
      name,
      where,
      html`<meter min="0" max=${limit} high=${0.8 * Number(limit)} value=${spent} aria-label=${name}></meter>
        ${` ${dollars(spent)} of ${dollars(limit)} (${share(spent, Number(limit))})`}`,
      dollars(left),
    ];
  });
  return html`<${Table} caption="Budgets" kind="budgets" heads=${["Budget", "Where", "Spent or reserved", "Left"]}
    rows=${rows} />`;
}

function Money({caption, kind, rows}) {
  const heads = ["Name", "Calls", "Tokens in", "Tokens out", "From caches", "Cost", "Without a price"];
  const note = kind === "providers" ? " (calls to agents are counted again where the agent paid, and not in the sum)" : "";
  return html`<${Table} caption=${caption + note} kind=${kind} heads=${heads} rows=${rows.map((row) => [
    row.name, row.calls, count(row.input_tokens), count(row.output_tokens), count(row.cached_tokens),
    dollars(row.cost), row.unpriced])} />`;
}

function Calls({rows}) {
  return html`<${Table} caption="How calls went" kind="calls"
    heads=${["Model", "Calls", "Failed", "Cancelled", "Half took at most", "99 of 100 at most"]}
    rows=${rows.map((row) => [row.name, row.requests, row.failed, row.cancelled, seconds(row.p50), seconds(row.p99)])} />`;
}

function Breakers({rows}) {
  const state = (row) => (
    row.state === "open" ? `open: tried again in ${seconds(row.seconds)}` : "half-open: the next call tries it");
  return html`<${Table} caption="Circuit breakers that are not closed" kind="breakers" heads=${["Target", "Where", "State"]}
    rows=${rows.map((row) => [row.target, row.where, state(row)])} none="All circuit breakers are closed." />`;
}

function Limiters({rows}) {
  const left = (number) => (number === null ? "–" : count(number));
  return html`<${Table} caption="Limiters" kind="limiters"
    heads=${["Name", "Where", "In flight", "Waiting", "Had to wait", "Next call in", "Requests left", "Tokens left"]}
    rows=${rows.map((row) => [row.name, row.where, `${row.in_flight} of ${row.at_once}`, row.waiting, row.held_back,
    seconds(row.wait), left(row.requests_left), left(row.tokens_left)])} none="No limiter has held a call back." />`;
}

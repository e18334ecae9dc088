// Where a request spent its time, tokens and money: a flame graph over agents, models and providers, and a table of it.
import {MEASURES, ROW, figure, heightOf, neighbour, spanAt} from "../flame.js";
import {html, useEffect, useState} from "../lib/ui.js";
import {ask, link} from "../link.js";
import {useLatest} from "../live.js";
import {Painting} from "../paint.js";
import {dollars, seconds} from "../words.js";

const MOST_ROWS = 200;
const MOST_REQUESTS = 50;
const COLOURS = {agent: "cell", request: "cell", model: "model", provider: "provider", tool: "tool"};
const KINDS = [["cell", "agents"], ["model", "models"], ["provider", "what computes"]];
const WAITS = {mailbox: "mailbox", limiter: "limiter", retry: "limiter", network: "network", "model queue": "queue"};

export function TimeView({rest}) {
  const [by, setBy] = useState("time");
  const [found, setFound] = useState(null);
  const [why, setWhy] = useState("");
  const [chosen, setChosen] = useState(0);
  const live = !link.latest("about")?.recording;
  const told = useLatest("requests");
  useEffect(() => {
    let left = false;
    const now = (what) => left || what();
    if (live && !rest) {
      setFound(null);
    } else {
      const which = live ? `id=${encodeURIComponent(rest)}` : `at=${Number(rest) || 0}`;
      ask("GET", `/page/time/request?${which}&by=${by}`).then(
        (request) => now(() => { setFound(request); setWhy(""); setChosen((old) => Math.min(old, request.boxes.length - 1)); }),
        (error) => now(() => { setFound(null); setWhy(error.message); }),
      );
    }
    return () => { left = true; };
  }, [rest, by, live]);
  return html`<section class="time" aria-label="A request in time">
    <fieldset class="measures"><legend>By</legend>${Object.entries(MEASURES).map(([name, title]) => html`
      <label key=${name}><input type="radio" name="by" value=${name} checked=${by === name} onChange=${() => setBy(name)} /> ${title}</label>`)}
    </fieldset>
    ${why ? html`<p class="problem" role="alert">${why}</p>` : null}
    ${live ? html`<${Requests} told=${told} chosen=${rest} />` : null}
    ${found ? html`<${Request} found=${found} by=${by} chosen=${chosen} choose=${setChosen} />` : null}
  </section>`;
}

// The requests that were sampled in the running system.
function Requests({told, chosen}) {
  if (!told) return html`<p class="quiet" role="status">Requests are shown once they have ended.</p>`;
  return html`<table class="requests">
    <caption>Requests that have ended, the newest first${told.rate > 1 ? `: one of ${told.rate}` : ""}${told.lost ? `; ${told.lost} turns are lost` : ""}</caption>
    <thead><tr>${["Request", "Time", "Turns", "Tokens", "Cost", "Error"].map((name) => html`<th scope="col" key=${name}>${name}</th>`)}</tr></thead>
    <tbody>${told.requests.slice(0, MOST_REQUESTS).map((each) => html`
      <tr key=${each.id} class=${each.error ? "bad" : ""} aria-current=${each.id === chosen ? "true" : null}>
        <th scope="row"><a href=${`#/time/${encodeURIComponent(each.id)}`}>${each.name} ${each.handler}</a></th>
        <td>${seconds(each.seconds)}</td><td>${each.turns}</td><td>${each.tokens}</td><td>${dollars(each.cost)}</td><td>${each.error}</td>
      </tr>`)}</tbody>
  </table>`;
}

export function Request({found, by, chosen, choose}) {
  const {tree, boxes} = found;
  const span = tree.spans[chosen] ?? tree.spans[0];
  const press = (event) => {
    if (!event.key.startsWith("Arrow")) return;
    event.preventDefault();
    choose(neighbour(tree.spans, chosen, event.key));
  };
  const point = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const at = spanAt(boxes, box.width, event.clientX - box.left, event.clientY - box.top);
    if (at !== null) choose(at);
  };
  const draw = (pen, width, height, colour) => {
    paint(pen, width, colour, tree, boxes, chosen);
    if (by === "time" && tree.deadline && tree.deadline <= tree.until) {
      pen.fillStyle = colour("bad");
      pen.fillRect(Math.min(width - 2, ((tree.deadline - tree.begin) / (tree.until - tree.begin || 1)) * width), 0, 2, height);
    }
  };
  return html`
    <h2>${tree.spans[0].name} ${tree.spans[0].detail} <span class="quiet">${worth(tree.sums[0], by)}${
      tree.deadline ? ` · deadline after ${seconds(tree.deadline - tree.begin)}` : ""}</span></h2>
    ${by === "time" ? html`<${Legend} tree=${tree} />` : null}
    <div class="flame"><${Painting} draw=${draw} shown=${[tree, boxes, chosen, by]} class="flame" height=${heightOf(boxes)} tabindex="0" role="img"
      aria-label=${`Flame graph by ${by}: arrow keys choose; the table below has the same`} onKeyDown=${press} onClick=${point} /></div>
    <p class="chosen" role="status">${span.name} ${span.detail}: ${worth(tree.sums[chosen] ?? tree.sums[0], by)}, of its own ${worth(tree.sums[chosen] ?? tree.sums[0], by, true)}${
      span.open ? ", has not ended" : ""}${span.good === false ? ", failed" : ""}
      ${span.place != null ? html` · <a href=${`#/replay/${span.place}`}>in the recording</a>` : null}</p>
    <${SpanTable} tree=${tree} chosen=${chosen} choose=${choose} />`;
}

// What the colours mean; of each wait, how long something of the request waited for it.
function Legend({tree}) {
  const waits = Object.entries(tree.waits ?? {}).sort(([, one], [, other]) => other - one);
  return html`<p class="legend">${KINDS.map(([colour, title]) => html`<span key=${colour}><i class=${`swatch ${colour}`}></i>${title}</span>`)}
    ${waits.map(([name, waited]) => html`<span key=${name} class="waited"><i class=${`swatch wait-${WAITS[name] ?? "other"}`}></i>${name} ${seconds(waited)}</span>`)}
    ${waits.length ? null : html`<span>nothing waited</span>`}
    ${tree.deadline ? html`<span><i class="swatch bad"></i>${tree.deadline > tree.until ? `deadline ${seconds(tree.deadline - tree.until)} behind the right edge` : "deadline"}</span>` : null}</p>`;
}

function colourOf(span) {
  if (span.good === false) return "bad";
  return span.kind === "wait" ? `wait-${WAITS[span.name] ?? "other"}` : COLOURS[span.kind];
}

function paint(pen, width, colour, tree, boxes, chosen) {
  pen.font = "12px system-ui, sans-serif";
  pen.textBaseline = "middle";
  boxes.forEach((box, place) => {
    const span = tree.spans[place];
    const [x, y, wide] = [box.left * width, box.row * ROW, Math.max(box.width && 1, box.width * width - 1)];
    if (!wide) return;
    pen.fillStyle = colour(colourOf(span));
    pen.fillRect(x, y, wide, ROW - 2);
    if (place === chosen) {
      pen.strokeStyle = colour("text");
      pen.lineWidth = 2;
      pen.strokeRect(x + 1, y + 1, Math.max(1, wide - 2), ROW - 4);
    }
    if (wide > 28) {
      pen.save();
      pen.beginPath();
      pen.rect(x, y, wide - 2, ROW);
      pen.clip();
      pen.fillStyle = span.good === false ? colour("ground") : colour("text");
      pen.fillText(`${span.name} ${span.detail ?? ""}`, x + 5, y + ROW / 2);
      pen.restore();
    }
  });
}

function SpanTable({tree, chosen, choose}) {
  const depth = [];
  tree.spans.forEach((span, place) => { depth[place] = span.parent == null ? 0 : depth[span.parent] + 1; });
  return html`<table class="spans">
    <caption>${tree.spans.length} spans${tree.spans.length > MOST_ROWS ? `, the first ${MOST_ROWS}` : ""}${tree.more ? `; ${tree.more} more are left out` : ""}</caption>
    <thead><tr>${["Span", "Kind", "Begins after", "Time", "Own time", "Tokens", "Cost"].map((name) => html`
      <th scope="col" key=${name}>${name}</th>`)}</tr></thead>
    <tbody>${tree.spans.slice(0, MOST_ROWS).map((span, place) => html`
      <tr key=${place} class=${span.good === false ? "bad" : ""} aria-current=${place === chosen ? "true" : null}>
        <th scope="row"><button class="plain" data-depth=${Math.min(8, depth[place])} onClick=${() => choose(place)}>${span.name} ${span.detail}</button></th>
        <td>${span.kind}</td><td>${seconds(span.begin - tree.begin)}</td>
        <td>${worth(tree.sums[place], "time")}</td><td>${worth(tree.sums[place], "time", true)}</td>
        <td>${worth(tree.sums[place], "tokens")}</td><td>${worth(tree.sums[place], "cost")}</td>
      </tr>`)}</tbody>
  </table>`;
}

function worth(sums, by, own = false) {
  const value = figure(sums, by, own);
  if (by === "time") return seconds(value);
  return by === "tokens" ? `${value} tokens` : dollars(value);
}

// A recording as a film: a timeline, the records around a place, what an agent got and did, and all agents.
import {FilmPlayer, densities, fractionOf, whenOf} from "../film.js";
import {html, useEffect, useMemo, useState} from "../lib/ui.js";
import {Painting} from "../paint.js";
import {clock, count, seconds} from "../words.js";

const SPEEDS = [5, 50, 500];
const MOST_AGENTS = 100;

export function ReplayView({rest, visit}) {
  const [shown, setShown] = useState(null);
  const [speed, setSpeed] = useState(SPEEDS[0]);
  const player = useMemo(() => new FilmPlayer(setShown), []);
  useEffect(() => {
    if (/^\d+$/.test(rest)) player.want(Number(rest));
  }, [rest, visit]);
  useEffect(() => {
    player.open();
    return () => player.close();
  }, []);
  useEffect(() => {
    if (shown?.film) history.replaceState(null, "", `#/replay/${shown.at}`);
  }, [shown?.at, Boolean(shown?.film)]);
  useEffect(() => {
    const pressed = (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
      const act = keyOf(event, player, speed);
      if (act) {
        event.preventDefault();
        act();
      }
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, [speed]);
  if (!shown?.film) return html`<p role="status">${shown?.why || "The recording is being opened."}</p>`;
  const {film} = shown;
  return html`<section class="replay" aria-label="Recording">
    ${film.notes.map((note) => html`<p class="problem" key=${note}>${note}</p>`)}
    ${shown.why ? html`<p class="problem" role="alert">${shown.why}</p>` : null}
    <${Timeline} shown=${shown} player=${player} />
    <${Steps} shown=${shown} player=${player} speed=${speed} setSpeed=${setSpeed} />
    <${Divergence} shown=${shown} player=${player} />
    <div class="columns">
      <${Lines} shown=${shown} player=${player} />
      <${Turn} turn=${shown.turn} player=${player} />
      <${Agents} shown=${shown} player=${player} />
    </div>
  </section>`;
}

function keyOf(event, player, speed) {
  const button = event.target.closest("button, a");
  switch (event.key) {
    case "ArrowRight": return () => player.step(false);
    case "ArrowLeft": return () => player.step(true);
    case "n": return () => player.step(false, player.followed());
    case "p": return () => player.step(true, player.followed());
    case "d": return () => player.shown.film?.imports.length && player.diverge();
    case "Home": return () => player.go(0);
    case "End": return () => player.go(Infinity);
    case " ": return button ? null : () => player.play(player.shown.playing ? 0 : speed);
    default: return null;
  }
}

function Timeline({shown, player}) {
  const {film, at, divergence} = shown;
  const [held, setHeld] = useState(false);
  const when = player.here()?.when || whenOf(film, at);
  const draw = (pen, width, height, colour) => {
    const parts = Math.max(1, Math.floor(width / 3));
    const found = densities(film, parts);
    const most = Math.max(1, ...found);
    pen.fillStyle = colour("cell");
    found.forEach((records, part) => {
      const high = records && Math.max(2, (records / most) * (height - 6));
      pen.fillRect((part * width) / parts, height - high, width / parts - 1, high);
    });
    if (divergence?.place != null) mark(pen, width, height, fractionOf(film, whenOf(film, divergence.place)), colour("bad"));
    mark(pen, width, height, fractionOf(film, when), colour("accent"));
  };
  const goTo = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const fraction = Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
    player.goTo(film.begin + fraction * (film.end - film.begin));
  };
  const grab = (event) => {
    event.currentTarget.setPointerCapture(event.pointerId);
    setHeld(true);
    goTo(event);
  };
  return html`<${Painting} draw=${draw} shown=${[film, at, when, divergence]} class="timeline" role="slider" tabindex="0"
    aria-label="Place in the recording" aria-valuemin="0" aria-valuemax=${film.records - 1} aria-valuenow=${at}
    aria-valuetext=${`record ${at} of ${film.records}, ${clock(when)}`}
    onPointerDown=${grab} onPointerMove=${(event) => held && goTo(event)} onPointerUp=${() => setHeld(false)} />`;
}

function mark(pen, width, height, fraction, colour) {
  const x = Math.min(width - 2, Math.max(0, fraction * width - 1));
  pen.fillStyle = colour;
  pen.fillRect(x, 0, 2, height);
}

function Steps({shown, player, speed, setSpeed}) {
  const {film, at, playing} = shown;
  const here = player.here();
  const agent = player.followed();
  return html`<div class="steps">
    <button onClick=${() => player.step(true)} title="Left arrow">Back</button>
    <button onClick=${() => player.play(playing ? 0 : speed)} title="Space">${playing ? "Pause" : "Play"}</button>
    <button onClick=${() => player.step(false)} title="Right arrow">Step</button>
    <label>Records a second <select value=${speed} onChange=${(event) => {
      setSpeed(Number(event.target.value));
      if (playing) player.play(Number(event.target.value));
    }}>${SPEEDS.map((each) => html`<option key=${each} value=${each}>${each}</option>`)}</select></label>
    <button disabled=${!agent} onClick=${() => player.step(true, agent)} title="p">Previous message of ${agent || "…"}</button>
    <button disabled=${!agent} onClick=${() => player.step(false, agent)} title="n">Next message of ${agent || "…"}</button>
    <button disabled=${!film.imports.length} onClick=${() => player.diverge()}
      title=${film.imports.length ? "d" : "three-mode watch FILE --import MODULE allows a replay"}>First divergence</button>
    <a href=${`#/time/${at}`}>This request in time</a>
    <span class="quiet">record ${at} of ${film.records} · ${here ? `${clock(here.when)}, ${seconds(here.when - film.begin)} after the begin` : "–"}${
      film.indexed < film.records ? ` · ${count((100 * film.indexed) / film.records)} % indexed` : ""}</span>
  </div>`;
}

function Divergence({shown, player}) {
  const found = shown.divergence;
  if (!found || found.state === "none") return null;
  const {state, outcome, place} = found;
  const told = {
    running: () => "The recording is replayed with the program's code.",
    same: () => `A replay of ${outcome.messages} messages did the same.${outcome.cut_off ? ` The recording ends early: ${outcome.cut_off}` : ""}`,
    failed: () => `There was no replay: ${outcome.failed}`,
    diverged: () => `${outcome.agent}, message ${outcome.turn ?? 0} (${outcome.handler}): recorded ${outcome.recorded}; replayed ${outcome.replayed}`,
  }[state]();
  return html`<p class=${`divergence ${state}`} role="status">${told} ${place != null ? html`
    <button onClick=${() => player.go(place)}>Show it</button>` : null}</p>`;
}

function Lines({shown, player}) {
  return html`<table class="lines">
    <caption>Records around ${shown.at}</caption>
    <thead><tr>${["Record", "Time", "Agent", "What", "With", "Content"].map((name) => html`
      <th scope="col" key=${name}>${name}</th>`)}</tr></thead>
    <tbody>${shown.lines.map((line) => html`
      <tr key=${line.place} class=${`${line.what} ${line.good === false ? "bad" : ""}`} aria-current=${line.place === shown.at ? "true" : null}>
        <th scope="row"><button class="plain" onClick=${() => player.go(line.place)}>${line.place}</button></th>
        <td>${line.when ? seconds(line.when - shown.film.begin) : ""}</td>
        <td>${line.agent}</td><td>${line.what} ${line.kind}</td><td>${line.peer}</td><td class="content">${line.text}</td>
      </tr>`)}</tbody>
  </table>`;
}

function Turn({turn, player}) {
  if (!turn) return html`<section class="turn"><h2>No message</h2></section>`;
  return html`<section class="turn" aria-live="off">
    <h2>${turn.agent}, ${turn.got ? `message ${turn.turn}: ${turn.got.kind}` : "while it was made"}</h2>
    ${turn.got ? html`<${Step} title=${`Got from ${turn.got.peer || "somebody"}`} step=${turn.got} content=${turn.got.content} player=${player} />` : null}
    ${turn.steps.map((step) => html`<${Step} key=${step.place} step=${step} player=${player} content=${step.content}
      result=${step.result} title=${`${step.what === "did" ? "Did" : step.what} ${step.kind}${step.peer ? ` → ${step.peer}` : ""}`} />`)}
    ${turn.more ? html`<p>${turn.more} more steps are not shown.</p>` : null}
    ${turn.ended ? html`<${Step} title=${`Ended: ${turn.ended.kind}`} step=${turn.ended} content=${turn.ended.content} player=${player} />`
      : turn.got ? html`<p class="quiet">It does not end in what was recorded.</p>` : null}
  </section>`;
}

function Step({title, step, content, result, player}) {
  return html`<div class=${`step ${step.good === false ? "bad" : ""}`}>
    <h3><button class="plain" onClick=${() => player.go(step.place)}>${title}</button></h3>
    ${content === undefined || content === null ? null : html`<pre tabindex="0">${written(content)}</pre>`}
    ${result === undefined || result === null ? null : html`<pre tabindex="0" class="result">${written(result)}</pre>`}
  </div>`;
}

function written(content) {
  return typeof content === "string" ? content : JSON.stringify(content, null, 1);
}

function Agents({shown, player}) {
  const [wanted, setWanted] = useState("");
  const {states} = shown;
  const rows = useMemo(() => states && states.names
    .map((name, place) => ({name, had: states.had[place], busy: states.busy[place], made: states.made[place]}))
    .filter((row) => row.name.includes(wanted))
    .sort((one, other) => (other.busy > 0) - (one.busy > 0) || one.name.localeCompare(other.name, "en", {numeric: true})), [states, wanted]);
  return html`<section class="states">
    <p><label>Agents with <input type="search" value=${wanted} onInput=${(event) => setWanted(event.target.value)} /></label></p>
    ${rows === null ? html`<p class="quiet">The recording is not indexed up to here.</p>` : html`<table>
      <caption>${rows.length === 1 ? "1 agent" : `${rows.length} agents`}${rows.length > MOST_AGENTS ? `, the first ${MOST_AGENTS}` : ""}</caption>
      <thead><tr><th scope="col">Agent</th><th scope="col">Messages</th><th scope="col">Busy with</th><th scope="col">Made</th></tr></thead>
      <tbody>${rows.slice(0, MOST_AGENTS).map((row) => html`<tr key=${row.name} class=${row.busy ? "busy" : ""}>
        <th scope="row"><button class="plain" aria-pressed=${row.name === shown.agent}
          onClick=${() => player.set({agent: row.name === shown.agent ? "" : row.name})}>${row.name}</button></th>
        <td>${row.had}</td><td>${row.busy}</td><td>${row.made}</td></tr>`)}</tbody>
    </table>`}
  </section>`;
}

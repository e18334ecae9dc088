// The canvas of the map: hosts as boxes, agents as cells in the colour of their state or load.
import {html, useEffect, useLayoutEffect, useRef, useState} from "../lib/ui.js";
import {Frames, colours, prepared} from "../canvas.js";
import {cellAt, layout, moved} from "../layout.js";
import {link} from "../link.js";
import {useLatest} from "../live.js";
import {agentPlace, count} from "../words.js";
import {choice, choose} from "./chosen.js";

const FADE = 600; // milliseconds that a cell glows after its agent was busy
const KEYS = new Set(["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"]);

export function Cells({opened, by}) {
  useLatest("chosen"); // what is said of the cell has it
  const canvas = useRef(null);
  const [focus, setFocus] = useState(-1);
  const view = useRef(null);
  if (view.current === null) view.current = new CellsCanvas();
  const cells = view.current;
  useLayoutEffect(() => cells.begin(canvas.current), []);
  useEffect(() => cells.show(opened, by, focus), [opened, by, focus]);
  const at = (event) => cellAt(cells.place, event.offsetX, event.offsetY);
  const press = (event) => {
    if (KEYS.has(event.key)) {
      const to = moved(cells.place, focus, event.key);
      if (event.shiftKey) cells.reach(focus, to);
      setFocus(to);
      event.preventDefault();
    } else if (event.key === " ") {
      cells.toggle(focus);
      event.preventDefault();
    } else if (event.key === "Enter" && focus >= 0) {
      location.hash = agentPlace(cells.name(focus));
    } else if (event.key === "Escape") {
      if (opened) location.hash = "#/map";
      else choose((agents) => agents.clear());
    }
  };
  const click = (event) => {
    const cell = at(event);
    if (cell < 0) return;
    if (event.shiftKey) cells.reach(cell, cell);
    else if (event.ctrlKey || event.metaKey) cells.toggle(cell);
    else location.hash = agentPlace(cells.name(cell));
  };
  return html`<div class="cells">
    <canvas ref=${canvas} tabindex="0" role="img" aria-describedby="cell-said"
      aria-label="Agents by host; arrow keys move, Enter opens an agent, Escape closes it, the space bar chooses one, Shift and arrow keys a range. The table below has the same."
      onKeyDown=${press} onPointerMove=${(event) => setFocus(at(event))} onClick=${click}></canvas>
    <p id="cell-said" class="quiet" aria-live="polite">${focus >= 0 ? cells.said(focus) : "Point at an agent, or use the arrow keys."}</p>
  </div>`;
}

// What is drawn, outside of the page's elements: a frame costs no more than its squares.
class CellsCanvas {
  constructor() {
    this.place = {boxes: [], cells: [], size: 10, height: 1};
    this.opened = "";
    this.by = "state";
    this.focus = -1;
    this.lit = []; // when the agent of a place was last busy
    this.drawn = -1;
  }

  begin(canvas) {
    this.canvas = canvas;
    this.frames = new Frames((time) => this.draw(time));
    this.sizes = new ResizeObserver(() => this.arrange());
    this.sizes.observe(canvas.parentElement);
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    const recolour = () => { this.colours = colours(); this.frames.ask(); };
    this.dark.addEventListener("change", recolour);
    recolour();
    const ends = [link.on("seen", () => this.seen()), link.on("chosen", () => this.frames.ask())];
    this.arrange();
    return () => {
      ends.forEach((end) => end());
      this.sizes.disconnect();
      this.dark.removeEventListener("change", recolour);
      this.frames.end();
    };
  }

  show(opened, by, focus) {
    Object.assign(this, {opened, by, focus});
    this.frames.ask();
  }

  seen() {
    if (this.number !== link.table.number || this.of !== link.table) this.arrange();
    const now = performance.now();
    link.table.rates.forEach((rate, place) => { if (rate > 0) this.lit[place] = now; });
    this.frames.ask();
  }

  arrange() {
    this.number = link.table.number;
    this.of = link.table;
    this.lit = [];
    this.hosts = link.table.byHost();
    this.width = Math.max(200, this.canvas.parentElement.clientWidth);
    this.place = layout(this.hosts, this.width);
    this.frames.ask();
  }

  name(cell) {
    return link.table.agents.name[this.place.cells[cell]?.place] ?? "";
  }

  // Cells of agents that can be chosen; those of other nodes cannot.
  toggle(cell) {
    const name = this.ours(cell) ? this.name(cell) : "";
    if (name) choose((agents) => agents.set(name, !agents.has(name)));
  }

  // Chooses all up to a cell, from the one that was chosen last, or from another cell where there was none.
  reach(from, cell) {
    const names = this.place.cells.map((_, each) => each).filter((each) => this.ours(each)).map((each) => this.name(each));
    choose((agents) => {
      if (!names.includes(agents.from) && names.includes(this.name(from))) agents.set(this.name(from), true);
      agents.reach(names, this.name(cell));
    });
  }

  ours(cell) {
    return link.table.agents.node[this.place.cells[cell]?.place] === "";
  }

  said(cell) {
    const agent = link.table.agent(this.name(cell));
    if (!agent) return "";
    const waits = agent.mailbox ? `, ${agent.mailbox} wait` : "";
    const doing = agent.doing ? ` in ${agent.doing}` : "";
    const chosen = choice.has(agent.name) ? ", chosen" : "";
    return `${agent.name} on ${agent.host}${chosen}: ${agent.state}${doing}${waits}, ${count(agent.rate)} messages a second, ${agent.errors} errors`;
  }

  draw(time) {
    const {place, colours: hue} = this;
    const pen = prepared(this.canvas, this.width, place.height);
    const {agents, rates} = link.table;
    pen.font = "12px system-ui, sans-serif";
    pen.textBaseline = "middle";
    for (const box of place.boxes) {
      pen.fillStyle = hue.raised;
      pen.fillRect(box.x, box.y, box.width, box.height);
      pen.strokeStyle = box.host.blocked || box.host.state !== "running" ? hue.bad : hue.line;
      pen.strokeRect(box.x + 0.5, box.y + 0.5, box.width - 1, box.height - 1);
      pen.fillStyle = hue.text;
      const node = box.host.node ? `${box.host.node}: ` : "";
      pen.fillText(`${node}${box.host.label}  ${agentsOf(box.host)}  ${box.host.state}`, box.x + 8, box.y + 11, box.width - 16);
    }
    const most = Math.max(1, ...rates);
    const inner = place.size - (place.size > 8 ? 2 : 1);
    let moves = false;
    for (const {place: row, x, y} of place.cells) {
      const state = agents.state[row];
      pen.globalAlpha = 1;
      pen.fillStyle = hue[COLOURS[state] ?? "bad"];
      if (this.by === "load") {
        const load = Math.min(1, rates[row] / most + agents.mailbox[row] / 10);
        pen.fillStyle = hue.accent;
        pen.globalAlpha = 0.12 + 0.88 * load;
      }
      pen.fillRect(x, y, inner, inner);
      const since = this.by === "load" || this.lit[row] === undefined ? FADE : time - this.lit[row];
      if (since < FADE) {
        moves = true;
        pen.globalAlpha = Math.max(0, 1 - since / FADE);
        pen.fillStyle = hue.accent;
        pen.fillRect(x, y, inner, inner);
      }
      pen.globalAlpha = 1;
      if (agents.errors[row] > 0) {
        pen.fillStyle = hue.bad;
        pen.fillRect(x, y + inner - 2, inner, 2);
      }
      if (choice.size && choice.has(agents.name[row])) {
        pen.strokeStyle = hue.text;
        pen.strokeRect(x + 0.5, y + 0.5, inner - 1, inner - 1);
      }
    }
    this.outline(pen, this.place.cells.findIndex((cell) => agents.name[cell.place] === this.opened), hue.text, inner);
    this.outline(pen, this.focus, hue.accent, inner);
    this.drawn += 1;
    this.canvas.dataset.frames = String(this.drawn);
    return moves;
  }

  outline(pen, cell, colour, inner) {
    const found = this.place.cells[cell];
    if (!found) return;
    pen.strokeStyle = colour;
    pen.lineWidth = 2;
    pen.strokeRect(found.x - 1, found.y - 1, inner + 2, inner + 2);
    pen.lineWidth = 1;
  }
}

function agentsOf({agents}) {
  return agents === 1 ? "1 agent" : `${agents} agents`;
}

const COLOURS = {idle: "cell", busy: "busy", paused: "quiet", registered: "cell", starting: "good"};

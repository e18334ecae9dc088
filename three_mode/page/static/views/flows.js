// Flows: messages a second between groups, as arrows and as a table.
import {html, useEffect, useRef} from "../lib/ui.js";
import {Frames, colours, prepared} from "../canvas.js";
import {link} from "../link.js";
import {useLatest} from "../live.js";
import {count} from "../words.js";

const MOST = 12; // groups that are drawn; the table has all
const HEIGHT = 240;

export function Flows() {
  const told = useLatest("flows");
  const rows = ratesOf(told);
  const canvas = useRef(null);
  const drawing = useRef(null);
  useEffect(() => {
    drawing.current = new FlowsCanvas(canvas.current);
    return () => drawing.current.end();
  }, []);
  useEffect(() => drawing.current?.show(rows), [told]);
  return html`<section class="flows" aria-label="Flows">
    <div class="drawn" hidden=${!rows.length}><canvas ref=${canvas} role="img" aria-label="Messages between groups; the table beside it has the same."></canvas></div>
    <table hidden=${!rows.length}><caption>Messages a second between groups</caption>
      <thead><tr><th scope="col">From</th><th scope="col">To</th><th scope="col">A second</th></tr></thead>
      <tbody>${rows.map(([from, to, rate]) => html`<tr key=${`${from}\n${to}`}>
        <th scope="row">${from}</th><td>${to}</td><td class="number">${count(rate)}</td></tr>`)}</tbody>
    </table>
    ${rows.length ? null : html`<p class="quiet">No messages between agents in the last second.</p>`}
  </section>`;
}

function ratesOf(told) {
  if (!told || !told.seconds) return [];
  const rows = told.flows.map(([from, to, found]) => [from, to, found / told.seconds]);
  return rows.sort((one, other) => other[2] - one[2]);
}

class FlowsCanvas {
  constructor(canvas) {
    this.canvas = canvas;
    this.rows = [];
    this.frames = new Frames((time) => this.draw(time));
    this.sizes = new ResizeObserver(() => this.frames.ask());
    this.sizes.observe(canvas.parentElement);
  }

  show(rows) {
    this.rows = rows;
    this.frames.ask();
  }

  end() {
    this.sizes.disconnect();
    this.frames.end();
  }

  draw(time) {
    const width = Math.max(200, this.canvas.parentElement.clientWidth);
    const hue = colours();
    const pen = prepared(this.canvas, width, HEIGHT);
    const groups = [...new Set(this.rows.flatMap(([from, to]) => [from, to]))].slice(0, MOST);
    const points = new Map(groups.map((group, index) => {
      const angle = (2 * Math.PI * index) / Math.max(1, groups.length) - Math.PI / 2;
      return [group, {x: width / 2 + (width / 2 - 80) * Math.cos(angle), y: HEIGHT / 2 + (HEIGHT / 2 - 30) * Math.sin(angle)}];
    }));
    const most = Math.max(1, ...this.rows.map((row) => row[2]));
    for (const [from, to, rate] of this.rows) {
      const start = points.get(from);
      const end = points.get(to);
      if (!start || !end) continue;
      this.arrow(pen, start, end, 1 + 4 * (rate / most), hue, time);
    }
    pen.font = "12px system-ui, sans-serif";
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    for (const [group, {x, y}] of points) {
      const half = Math.min(70, pen.measureText(group).width / 2 + 8);
      pen.fillStyle = hue.raised;
      pen.strokeStyle = hue.line;
      pen.fillRect(x - half, y - 11, 2 * half, 22);
      pen.strokeRect(x - half, y - 11, 2 * half, 22);
      pen.fillStyle = hue.text;
      pen.fillText(group, x, y, 2 * half - 8);
    }
    return this.rows.length > 0;
  }

  // An arc from one group to another (or back to itself), with a dot that moves along it.
  arrow(pen, start, end, thick, hue, time) {
    const loop = start === end;
    const bend = loop ? {x: start.x + 60, y: start.y - 60}
      : {x: (start.x + end.x) / 2 + (end.y - start.y) / 6, y: (start.y + end.y) / 2 + (start.x - end.x) / 6};
    const second = loop ? {x: start.x - 60, y: start.y - 60} : bend;
    pen.strokeStyle = hue.accent;
    pen.globalAlpha = 0.5;
    pen.lineWidth = thick;
    pen.beginPath();
    pen.moveTo(start.x, start.y);
    pen.bezierCurveTo(bend.x, bend.y, second.x, second.y, end.x, end.y);
    pen.stroke();
    pen.globalAlpha = 1;
    const at = (time / 1200) % 1;
    const back = 1 - at;
    const [a, b, c, d] = [back ** 3, 3 * back ** 2 * at, 3 * back * at ** 2, at ** 3];
    pen.fillStyle = hue.accent;
    pen.beginPath();
    pen.arc(a * start.x + b * bend.x + c * second.x + d * end.x, a * start.y + b * bend.y + c * second.y + d * end.y, thick + 1, 0, 7);
    pen.fill();
    pen.lineWidth = 1;
  }
}

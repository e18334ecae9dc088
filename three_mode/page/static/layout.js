// Where hosts and agents are on the map. No DOM.
const GAP = 10;
const HEAD = 22;
const LEAST = 6;
const MOST = 22;

// Boxes of hosts and the squares of their agents, in a width: {boxes, cells: [{place, x, y}], size, height}.
export function layout(hosts, width) {
  const most = Math.max(1, ...hosts.map((host) => host.places.length));
  const columns = Math.max(1, Math.min(hosts.length, Math.floor((width + GAP) / (220 + GAP))));
  const inner = Math.floor((width - GAP * (columns - 1)) / columns);
  const room = inner - 2 * 8;
  const size = Math.max(LEAST, Math.min(MOST, Math.floor(Math.sqrt((room * 180) / most))));
  const across = Math.max(1, Math.floor(room / size));
  const boxes = [];
  const cells = [];
  let top = 0;
  for (let first = 0; first < hosts.length; first += columns) {
    const row = hosts.slice(first, first + columns);
    const rows = Math.max(1, ...row.map((host) => Math.ceil(host.places.length / across)));
    const height = HEAD + rows * size + 8;
    row.forEach((host, column) => {
      const x = column * (inner + GAP);
      boxes.push({host, x, y: top, width: inner, height});
      host.places.forEach((place, index) => {
        cells.push({
          place, x: x + 8 + (index % across) * size, y: top + HEAD + Math.floor(index / across) * size,
        });
      });
    });
    top += height + GAP;
  }
  return {boxes, cells, size, across, height: Math.max(1, top - GAP)};
}

// The cell at a point, or -1.
export function cellAt({cells, size}, x, y) {
  return cells.findIndex((cell) => x >= cell.x && x < cell.x + size && y >= cell.y && y < cell.y + size);
}

// The cell that an arrow key leads to.
export function moved({cells, size}, from, key) {
  if (!cells.length) return -1;
  if (from < 0) return 0;
  if (key === "Home") return 0;
  if (key === "End") return cells.length - 1;
  if (key === "ArrowLeft") return Math.max(0, from - 1);
  if (key === "ArrowRight") return Math.min(cells.length - 1, from + 1);
  const up = key === "ArrowUp";
  const {x, y} = cells[from];
  let best = from;
  let least = Infinity;
  cells.forEach((cell, index) => {
    const down = up ? y - cell.y : cell.y - y;
    if (down <= 0) return;
    const distance = down + Math.abs(cell.x - x) / size / 1000 + (Math.abs(cell.x - x) > size * 40 ? 1000 : 0);
    if (distance < least) {
      least = distance;
      best = index;
    }
  });
  return best;
}

// A request as a flame graph: which box is where, and which one is next. No DOM.
export const ROW = 24;
export const MEASURES = {time: "Time", tokens: "Tokens", cost: "Cost"};

export function heightOf(boxes) {
  return ROW * (1 + Math.max(0, ...boxes.map((box) => box.row)));
}

// The span below a point; null where there is none.
export function spanAt(boxes, width, x, y) {
  const row = Math.floor(y / ROW);
  const found = boxes.findIndex((box) => box.row === row && box.width > 0 && x >= box.left * width && x <= (box.left + box.width) * width + 1);
  return found < 0 ? null : found;
}

// The span that an arrow leads to: up to its parent, down to its first child, left and right among its like.
export function neighbour(spans, place, key) {
  const parent = spans[place].parent ?? null;
  if (key === "ArrowUp") return parent ?? place;
  const among = (of) => spans.map((_, each) => each).filter((each) => each !== 0 && (spans[each].parent ?? null) === of);
  if (key === "ArrowDown") return among(place)[0] ?? place;
  const like = parent === null ? [0] : among(parent);
  const at = like.indexOf(place) + (key === "ArrowRight" ? 1 : -1);
  return like[at] ?? place;
}

export function figure(sums, by, own) {
  return sums[own ? `own_${by}` : by];
}

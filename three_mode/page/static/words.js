// Figures as people read them. No DOM.
export function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value >= 0.9995) return `${value.toPrecision(3)} s`;
  if (value >= 0.9995e-3) return `${(1e3 * value).toPrecision(3)} ms`;
  return `${(1e6 * value).toPrecision(3)} µs`;
}

export function bytes(value) {
  if (!value) return "–";
  const units = ["B", "kB", "MB", "GB"];
  const place = Math.min(3, Math.floor(Math.log10(value) / 3));
  return `${(value / 1000 ** place).toPrecision(3)} ${units[place]}`;
}

export function count(value) {
  if (value === null || value === undefined) return "–";
  return value >= 100000 ? `${(value / 1000).toFixed(0)}k` : Math.round(value).toString();
}

// The address of an agent's panel on the map.
export function agentPlace(name) {
  return `#/map/${name.split("/").map(encodeURIComponent).join("/")}`;
}

export function clock(when) {
  return when ? new Date(1000 * when).toLocaleTimeString([], {hour12: false}) : "–";
}

// Money as the endpoint writes it: text, so that no cent is lost on the way.
export function dollars(value) {
  const amount = Number(value);
  if (amount === 0) return "$0";
  return `$${Math.abs(amount) >= 0.01 ? amount.toFixed(2) : amount.toPrecision(2)}`;
}

export function share(part, of) {
  return part === null || !of ? "–" : `${Math.round((100 * part) / of)} %`;
}

// Agents that somebody has chosen, to steer them together. No DOM.
export class Choice {
  constructor() {
    this.names = new Set();
    this.from = ""; // where a range begins: the agent that was chosen or left out last
  }

  get size() {
    return this.names.size;
  }

  has(name) {
    return this.names.has(name);
  }

  // Chooses an agent, or leaves it out.
  set(name, chosen) {
    if (chosen) this.names.add(name);
    else this.names.delete(name);
    this.from = name;
  }

  // The same for all agents from the last one to this one, in the order of `names`.
  reach(names, name, chosen = true) {
    const [begin, end] = [names.indexOf(this.from), names.indexOf(name)];
    if (end < 0) return;
    const first = begin < 0 ? end : Math.min(begin, end);
    const from = begin < 0 ? name : this.from;
    names.slice(first, Math.max(begin, end) + 1).forEach((each) => this.set(each, chosen));
    this.from = from; // the next range begins where this one did
  }

  add(names) {
    for (const name of names) this.names.add(name);
  }

  clear() {
    this.names.clear();
    this.from = "";
  }

  // Forgets those that are not among these; returns whether there were any.
  keep(there) {
    const gone = [...this.names].filter((name) => !there.has(name));
    gone.forEach((name) => this.names.delete(name));
    if (!there.has(this.from)) this.from = "";
    return gone.length > 0;
  }
}

// The groups of agents, and how many there are of each: [["scout", 512], ...].
export function groupsOf(names, groupOf) {
  const found = new Map();
  for (const name of names) found.set(groupOf(name), (found.get(groupOf(name)) ?? 0) + 1);
  return [...found].sort(([one], [other]) => (one < other ? -1 : 1));
}

// The table of hosts and agents, in columns as the endpoint sends it. No DOM.
export class Table {
  constructor() {
    this.number = 0;
    this.version = 0; // counts what has come, for those who draw
    this.head = {bus: "", when: 0, silent: [], nodes: [], left_out: 0};
    this.hosts = {label: []};
    this.agents = {name: []};
    this.places = new Map();
    this.rates = []; // messages a second of each agent
    this.totalRates = new Map(); // of each host and node
  }

  get size() {
    return this.agents.name.length;
  }

  replace(message) {
    const before = this.messagesByName();
    const seconds = message.when - this.head.when;
    this.number = message.n;
    this.takeHead(message);
    this.agents = message.agents;
    this.places = new Map(this.agents.name.map((name, place) => [name, place]));
    this.rates = this.agents.name.map((name, place) => rate(before.get(name), this.agents.messages[place], seconds));
  }

  // Takes what has changed; false where it is for another table than this one.
  change(message) {
    if (message.of !== this.number) return false;
    const seconds = message.when - this.head.when;
    const {at, ...columns} = message.agents;
    const before = at.map((place) => this.agents.messages[place]);
    for (const [name, values] of Object.entries(columns)) {
      const column = this.agents[name];
      at.forEach((place, index) => { column[place] = values[index]; });
    }
    this.rates.fill(0);
    at.forEach((place, index) => { this.rates[place] = rate(before[index], this.agents.messages[place], seconds); });
    this.takeHead(message);
    return true;
  }

  takeHead(message) {
    const {bus, when, silent, nodes, left_out} = message;
    const seconds = when - this.head.when;
    const before = this.head.when ? new Map(this.totals()) : new Map();
    this.head = {bus, when, silent, nodes, left_out};
    this.hosts = message.hosts;
    this.totalRates = new Map(this.totals().map(([key, messages]) => [key, rate(before.get(key), messages, seconds)]));
    this.version += 1;
  }

  // Messages so far of each host, and of each node: [["far\nhost-1", 7], ["far", 7]].
  totals() {
    const {label, node = [], messages = []} = this.hosts;
    return [...label.map((name, place) => [`${node[place]}\n${name}`, messages[place]]),
      ...this.head.nodes.map((each) => [each.name, each.messages])];
  }

  messagesByName() {
    return new Map(this.agents.name.map((name, place) => [name, this.agents.messages[place]]));
  }

  // One agent as an object, or null.
  agent(name) {
    const place = this.places.get(name);
    if (place === undefined) return null;
    const found = {place, rate: this.rates[place]};
    for (const [column, values] of Object.entries(this.agents)) found[column] = values[place];
    return found;
  }

  // Hosts with the places of their agents, in order: [{label, node, ..., places: [0, 1, ...]}].
  byHost() {
    const found = this.hosts.label.map((label, index) => {
      const host = {places: []};
      for (const [column, values] of Object.entries(this.hosts)) host[column] = values[index];
      return host;
    });
    const byLabel = new Map(found.map((host) => [`${host.node}\n${host.label}`, host]));
    this.agents.name.forEach((_, place) => {
      byLabel.get(`${this.agents.node[place]}\n${this.agents.host[place]}`)?.places.push(place);
    });
    return found;
  }
}

export function groupOf(name) {
  const slash = name.lastIndexOf("/");
  return slash < 0 ? name : name.slice(0, slash);
}

function rate(before, now, seconds) {
  return before === undefined || seconds <= 0 || now < before ? 0 : (now - before) / seconds;
}

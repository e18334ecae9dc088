// The WebSocket to the endpoint: one for the whole page, opened again when it ends.
//
//   link.look(["map"], "scout/7")   from now on this is what we look at
//   link.on("events", told)         told(message) for each message of a kind; returns what ends it
//   link.latest("hello")            the last message of a kind
import {Table} from "./table.js";

const FIRST_WAIT = 250;
const LONGEST_WAIT = 5000;
const TRY_LATER = 1013; // too many pages look on

class Link {
  constructor() {
    this.told = new Map();
    this.last = new Map();
    this.table = new Table();
    this.state = "waiting"; // waiting, open, lost, full, refused
    this.gaps = 0;
    this.problems = new Map(); // view -> what is wrong with it; empty: nothing
    this.wanted = {at: [], agent: null};
    this.wait = FIRST_WAIT;
  }

  on(kind, told) {
    if (!this.told.has(kind)) this.told.set(kind, new Set());
    this.told.get(kind).add(told);
    return () => this.told.get(kind).delete(told);
  }

  latest(kind) {
    return this.last.get(kind);
  }

  tell(message) {
    this.last.set(message.kind, message);
    for (const told of this.told.get(message.kind) ?? []) told(message);
  }

  look(at, agent = null) {
    this.wanted = {at, agent};
    if (this.socket?.readyState === WebSocket.OPEN) {
      this.socket.send(JSON.stringify({kind: "look", at, agent}));
    }
  }

  // Opens the socket, and again whenever it ends.
  open() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/page/live`);
    this.socket = socket;
    let opened = false;
    socket.onopen = () => {
      opened = true;
      this.wait = FIRST_WAIT;
      this.table = new Table();
      this.problems.clear();
      this.become("open");
      this.look(this.wanted.at, this.wanted.agent);
    };
    socket.onmessage = (event) => this.heard(JSON.parse(event.data));
    socket.onclose = async ({code}) => {
      this.become(code === TRY_LATER ? "full" : "lost");
      if (!opened && (await refused())) {
        this.become("refused"); // its session is over
        return;
      }
      setTimeout(() => this.open(), this.wait);
      this.wait = Math.min(2 * this.wait, LONGEST_WAIT);
    };
  }

  become(state) {
    this.state = state;
    this.tell({kind: "link", state});
  }

  heard(message) {
    if (message.kind === "gap") this.gaps += message.count;
    if (message.kind === "table") this.table.replace(message);
    if (message.kind === "change" && !this.table.change(message)) return;
    if (message.kind === "table" || message.kind === "change") this.tell({kind: "seen", table: this.table});
    if (message.kind === "problem") this.problems.set(message.view, message.why);
    this.tell(message);
  }
}

export const link = new Link();

// Whether the endpoint wants a key from this page.
async function refused() {
  try {
    await ask("GET", "/page/about");
  } catch (error) {
    return error.status === 401;
  }
  return false;
}

// Asks the endpoint for something; an error of its own is an Error with its message.
export async function ask(method, path, body) {
  const options = {method, headers: {}, credentials: "same-origin"};
  if (body !== undefined) {
    options.headers["content-type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const reply = await fetch(path, options);
  const text = await reply.text();
  let found = null;
  try {
    found = text ? JSON.parse(text) : null;
  } catch {
    found = null;
  }
  if (!reply.ok) {
    const error = new Error(found?.error?.message ?? `${reply.status} ${reply.statusText}`);
    error.status = reply.status;
    throw error;
  }
  return found;
}

// Server-sent events out of bytes, however a network cuts them. Pure: no DOM, no network.
//
//   const events = new EventStream();
//   for (const event of events.feed(bytes)) ...      each is {event, data, id}
//
// A line ends with CR, LF or both. A block of lines ends with an empty one; what has no data is no event.

const MOST_PENDING = 4 * 1024 * 1024; // characters of one event that is not whole yet

export class EventStream {
  constructor(mostPending = MOST_PENDING) {
    this.most = mostPending;
    this.decoder = new TextDecoder(); // it keeps the beginning of a character whose end has not come, and drops a BOM
    this.rest = ""; // a line that is not whole yet
    this.afterReturn = false; // the last line ended with CR: an LF that comes next belongs to it
    this.id = "";
    this.#begin();
  }

  #begin() {
    this.name = "";
    this.data = [];
    this.length = 0; // characters of `data`, with the ends of its lines
  }

  /** The events that are whole with these bytes. */
  feed(bytes) {
    return this.#read(this.decoder.decode(bytes, {stream: true}));
  }

  #read(text) {
    const found = [];
    if (this.afterReturn && text !== "") {
      this.afterReturn = false;
      if (text[0] === "\n") text = text.slice(1);
    }
    let start = 0;
    for (let at = 0; at < text.length; at++) {
      const letter = text[at];
      if (letter !== "\n" && letter !== "\r") continue;
      const line = this.rest + text.slice(start, at);
      this.rest = "";
      if (letter === "\r") {
        if (at + 1 === text.length) this.afterReturn = true;
        else if (text[at + 1] === "\n") at++;
      }
      start = at + 1;
      const event = this.#line(line);
      if (event !== null) found.push(event);
    }
    this.rest += text.slice(start);
    if (this.rest.length + this.length > this.most) throw new Error(`an event of more than ${this.most} characters`);
    return found;
  }

  #line(line) {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    if (colon === 0) return null; // a comment, which keeps a connection alive
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value[0] === " ") value = value.slice(1);
    if (field === "data") {
      this.data.push(value);
      this.length += value.length + 1;
    } else if (field === "event") this.name = value;
    else if (field === "id" && !value.includes("\0")) this.id = value;
    return null;
  }

  #dispatch() {
    const event = this.data.length ? {event: this.name || "message", data: this.data.join("\n"), id: this.id} : null;
    this.#begin();
    return event;
  }
}

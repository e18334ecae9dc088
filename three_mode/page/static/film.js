// A recording as a film: what is asked of the endpoint, and where a time is on the timeline. No DOM.
import {ask} from "./link.js";

const NONE = {film: null, lines: [], turn: null, why: ""};

export class FilmPlayer {
  constructor(changed) {
    this.changed = changed;
    this.shown = {...NONE, at: 0, states: null, agent: "", divergence: null, playing: 0};
    this.number = 0;
    this.wanted = 0;
    this.ended = false;
  }

  set(given) {
    this.shown = {...this.shown, ...given};
    if (!this.ended) this.changed(this.shown);
  }

  // Opens the film at the place that is wanted by then, and asks again while more of it is indexed.
  async open() {
    await this.learn();
    if (this.shown.film) await this.go(this.wanted);
  }

  // Somebody wants to see a place, perhaps before the film is open.
  want(at) {
    this.wanted = at;
    if (this.shown.film && at !== this.shown.at) this.go(at);
  }

  async learn() {
    try {
      const film = await ask("GET", "/page/replay/film");
      const grown = film.indexed !== this.shown.film?.indexed;
      this.set({film, why: ""});
      if (grown && this.shown.states === null) await this.count();
    } catch (error) {
      this.set({why: error.message});
    }
    if (this.ended) return;
    const {film} = this.shown;
    this.timer = setTimeout(() => this.learn(), film && film.indexed < film.records ? 400 : 3000);
  }

  // Shows a place: the records around it at once, then the turn it is about, then all agents.
  async go(at) {
    const {film} = this.shown;
    if (!film?.records) return;
    at = Math.max(0, Math.min(at, film.records - 1));
    const number = ++this.number;
    this.set({at});
    try {
      const [{records}, turn] = await Promise.all([
        ask("GET", `/page/replay/records?at=${at}&before=12&after=24`),
        ask("GET", `/page/replay/turn?at=${at}`).catch(() => null),
      ]);
      if (number !== this.number) return;
      this.set({lines: records, turn, why: ""});
      await this.count();
    } catch (error) {
      if (number === this.number) this.set({why: error.message});
    }
  }

  async count() {
    const number = this.number;
    const {states} = await ask("GET", `/page/replay/agents?at=${this.shown.at}`);
    if (number === this.number) this.set({states});
  }

  // Steps by records (no agent), or to the message of an agent.
  async step(back, agent = "") {
    const way = back ? "previous" : "next";
    const asked = `/page/replay/step?at=${this.shown.at}&way=${way}&agent=${encodeURIComponent(agent)}`;
    const {place} = await ask("GET", asked);
    if (place !== null) await this.go(place);
    return place !== null;
  }

  async goTo(when) {
    const {place} = await ask("GET", `/page/replay/time?when=${when}`);
    await this.go(place);
  }

  // The agent that steps follow: the chosen one, or that of this place.
  followed() {
    return this.shown.agent || this.here()?.agent || "";
  }

  here() {
    return this.shown.lines.find((line) => line.place === this.shown.at);
  }

  // Plays so many records a second; 0 stops.
  play(speed) {
    clearInterval(this.playing);
    this.set({playing: speed});
    if (!speed) return;
    let busy = false;
    this.playing = setInterval(async () => {
      if (busy) return;
      busy = true;
      const last = this.shown.film.records - 1;
      if (this.shown.at >= last) this.play(0);
      else await this.go(Math.min(last, this.shown.at + Math.max(1, Math.round(speed / 5))));
      busy = false;
    }, 200);
  }

  async diverge() {
    try {
      let found = await ask("POST", "/page/replay/divergence");
      while (!this.ended) {
        this.set({divergence: found});
        if (found.state !== "running") break;
        await new Promise((done) => setTimeout(done, 300));
        found = await ask("GET", "/page/replay/divergence");
      }
      if (found.place !== null && !this.ended) await this.go(found.place);
    } catch (error) {
      this.set({divergence: {state: "failed", outcome: {failed: error.message}}});
    }
  }

  close() {
    this.ended = true;
    clearInterval(this.playing);
    clearTimeout(this.timer);
  }
}

// Records a second in so many parts of the film, from what the overview says.
export function densities({overview, begin, end}, parts) {
  const found = new Array(parts).fill(0);
  const width = (end - begin) / parts || 1;
  for (let i = 1; i < overview.length; i++) {
    const [[from, since], [to, until]] = [overview[i - 1], overview[i]];
    const first = Math.min(parts - 1, Math.max(0, Math.floor((since - begin) / width)));
    const last = Math.min(parts - 1, Math.max(first, Math.floor((until - begin) / width)));
    for (let part = first; part <= last; part++) found[part] += (to - from) / (last - first + 1);
  }
  return found;
}

// Where a place is between the begin and the end of the film, from 0 to 1.
export function fractionOf({begin, end}, when) {
  return end > begin ? Math.max(0, Math.min(1, (when - begin) / (end - begin))) : 0;
}

// About when a place is, before its record has come.
export function whenOf({overview}, at) {
  const next = Math.max(1, overview.findIndex(([place]) => place >= at));
  const [[from, since], [to, until]] = [overview[next - 1] ?? [0, 0], overview[next] ?? overview[0] ?? [1, 0]];
  return to > from ? since + ((until - since) * (at - from)) / (to - from) : since;
}

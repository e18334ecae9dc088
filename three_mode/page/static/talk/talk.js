// One talk: its settings, its turns, and what is under way. No DOM; it tells who watches that something has changed.
import {ask} from "../link.js";
import {Answer} from "./answer.js";
import * as kept from "./kept.js";
import {bodyOf, fieldsOf} from "./request.js";
import {streamed} from "./stream.js";
import {callTool, toolsThere} from "./tools.js";

const MOST_ROUNDS = 5; // answers of a model that calls tools, to one turn of yours

export class Talk {
  constructor() {
    Object.assign(this, {
      model: "", models: [], most: "512", system: "", fields: "", words: "", tools: [], usesTools: false,
      turns: [], // {kind: "user", text}, {kind: "model", model, answer, running}, {kind: "result", id, name, text, failed, asksYou}
      conversation: null, known: [], keeps: false, lists: false, more: false, busy: false, problem: "", lastBody: null,
    });
    this.sent = 0; // turns that a kept conversation has already
    this.watchers = new Set();
    this.changed = this.changed.bind(this);
  }

  watch(told) {
    this.watchers.add(told);
    return () => this.watchers.delete(told);
  }

  changed() {
    for (const told of this.watchers) told();
  }

  set(given) {
    Object.assign(this, given);
    this.lastBody = null;
    this.changed();
  }

  // Asks what there is to talk to, and with. `keeps`: whether the endpoint keeps conversations; `lists`: and lists them.
  async begin(keeps, lists) {
    const [models, tools] = await Promise.allSettled([ask("GET", "/v1/models"), toolsThere()]);
    if (models.status === "fulfilled") {
      this.models = models.value.data.map((model) => model.id);
      this.model ||= this.models[0] ?? "";
    } else this.problem = models.reason.message;
    this.tools = tools.value ?? [];
    Object.assign(this, {keeps, lists});
    await this.learn();
    this.changed();
  }

  // Asks which conversations there are.
  async learn() {
    try {
      if (this.lists) ({found: this.known, more: this.more} = await kept.listed());
      else this.known = this.keeps ? kept.known() : [];
    } catch (error) {
      this.problem = error.message;
    }
  }

  clear() {
    this.set({turns: [], conversation: null, problem: ""});
    this.sent = 0;
  }

  // The turns as messages of a request.
  messages() {
    return this.turns.slice(this.sent).flatMap((turn) => {
      if (turn.kind === "user") return [{role: "user", content: turn.text}];
      if (turn.kind === "result") return [{role: "tool", tool_call_id: turn.id, content: turn.text ?? ""}];
      if (this.conversation || turn.answer.error) return []; // the endpoint knows it, or it is no part of the talk
      return turn.answer.text || turn.answer.calls.length ? [turn.answer.message()] : [];
    });
  }

  // The request that is next, with these words.
  nextBody(words = this.words) {
    const said = words.trim() ? [{role: "user", content: words}] : [];
    const fields = {...fieldsOf(this.fields)};
    if (Number(this.most) > 0) fields.max_tokens ??= Number(this.most);
    return bodyOf({
      model: this.model,
      system: this.system.trim() && !this.sent ? this.system : "",
      turns: [...this.messages(), ...said],
      tools: this.usesTools ? this.tools : [],
      conversation: this.conversation,
      fields,
    });
  }

  async say() {
    if (this.busy || !this.words.trim()) return;
    try {
      this.nextBody();
    } catch (error) {
      this.set({problem: error.message});
      return;
    }
    const text = this.words;
    if (this.conversation) this.note(this.conversation, text);
    this.turns.push({kind: "user", text});
    this.set({words: "", problem: ""});
    await this.goOn();
  }

  // Asks the model, runs the tools that it calls, and asks again.
  async goOn() {
    this.stopper = new AbortController();
    const {signal} = this.stopper;
    this.busy = true;
    try {
      for (let round = 0; round < MOST_ROUNDS && !signal.aborted; round++) {
        const answer = await this.answered(signal);
        const calls = answer.calls.filter(Boolean);
        if (answer.error || answer.cancelled || !calls.length) return;
        if (!(await this.resultsOf(calls, signal))) return;
      }
      if (!signal.aborted) this.problem = `The model called tools ${MOST_ROUNDS} times in a row; say something to go on.`;
    } catch (error) {
      if (!signal.aborted) this.problem = error.message;
    } finally {
      this.busy = false;
      if (this.conversation && this.lists) await this.learn();
      this.changed();
    }
  }

  async answered(signal) {
    const body = this.nextBody(""); // what is being typed meanwhile is for later
    const turn = {kind: "model", model: this.model, answer: new Answer(), running: true};
    this.turns.push(turn);
    this.lastBody = body;
    this.changed();
    await streamed(body, turn.answer, this.changed, signal);
    turn.running = false;
    if (this.conversation && (turn.answer.whole || turn.answer.cancelled)) this.sent = this.turns.length;
    return turn.answer;
  }

  // Calls the tools of an answer, one after another. False: a result has to be given by hand.
  async resultsOf(calls, signal) {
    const turns = calls.map(({id, name}) => {
      const asksYou = !this.tools.some((tool) => tool.name === name);
      return {kind: "result", id, name, text: null, failed: false, asksYou};
    });
    this.turns.push(...turns);
    this.changed();
    for (const [place, turn] of turns.entries()) {
      if (turn.asksYou) continue;
      const {text, failed} = await callTool(turn.name, calls[place].arguments, signal);
      Object.assign(turn, {text, failed});
      this.changed();
    }
    return !turns.some((turn) => turn.asksYou);
  }

  // Takes the result that somebody typed; the model goes on when it has all of them.
  giveResult(turn, text) {
    turn.text = text;
    this.changed();
    const waiting = this.turns.some((each) => each.kind === "result" && each.text === null);
    if (!waiting && !this.busy) this.goOn();
  }

  cancel() {
    this.stopper?.abort();
  }

  // Kept conversations

  // Remembers what was said first in one, and the model that answers.
  note(id, title) {
    const found = kept.note(id, title, this.model);
    if (!this.lists) this.known = found;
  }

  async beginKept() {
    await this.trying(async () => {
      const id = await kept.begin();
      this.clear();
      this.conversation = id;
      this.note(id, "");
    });
  }

  async open(id, model) {
    await this.trying(async () => {
      const items = await kept.itemsOf(id);
      this.clear();
      this.turns = turnsOf(items, model || this.model);
      this.sent = this.turns.length;
      this.conversation = id;
      this.model = model || this.model;
    });
  }

  async fork() {
    await this.trying(async () => {
      const title = kept.known().find((each) => each.id === this.conversation)?.title ?? "";
      const id = await kept.forkOf(this.conversation);
      this.note(id, `${title} (fork)`);
      await this.open(id, this.model);
    });
  }

  async remove(id) {
    await this.trying(async () => {
      try {
        await kept.remove(id);
      } catch (error) {
        if (error.status !== 404) throw error; // it is gone already
      }
      const known = kept.forget(id);
      if (!this.lists) this.known = known;
      if (id === this.conversation) this.clear();
    });
  }

  async trying(act) {
    this.problem = "";
    try {
      await act();
      if (this.lists) await this.learn();
    } catch (error) {
      this.problem = error.message;
    }
    this.changed();
  }
}

// Turns out of the items of a kept conversation.
export function turnsOf(items, model) {
  const turns = [];
  const names = new Map(); // id of a call -> its tool
  const answered = () => {
    if (turns.at(-1)?.kind !== "model") turns.push({kind: "model", model, answer: new Answer(), running: false});
    return turns.at(-1).answer;
  };
  for (const item of items) {
    if (item.type === "function_call") {
      names.set(item.call_id, item.name);
      answered().calls.push({id: item.call_id, name: item.name, arguments: item.arguments});
    } else if (item.type === "function_call_output") {
      turns.push({kind: "result", id: item.call_id, name: names.get(item.call_id) ?? "", text: item.output, failed: false});
    } else if (item.role === "user") {
      turns.push({kind: "user", text: textOf(item)});
    } else if (item.role === "assistant") {
      answered().text += textOf(item);
    }
  }
  return turns;
}

function textOf(item) {
  return (item.content ?? []).map((part) => part.text ?? "").join("");
}

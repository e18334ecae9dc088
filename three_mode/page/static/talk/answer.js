// One answer of a model, put together from the chunks of its stream. No DOM, no network.
//
//   const answer = new Answer();
//   for (const event of events.feed(bytes)) answer.take(event.data);
export class Answer {
  constructor() {
    this.text = "";
    this.thinking = "";
    this.calls = []; // {id, name, arguments: JSON as text}
    this.model = "";
    this.provider = "";
    this.finish = null; // "stop", "length", "tool_calls" ...
    this.usage = null;
    this.cost = null; // US dollars, as text; null: nobody knows
    this.ignored = []; // fields of the request that did nothing
    this.error = null; // {message, code}
    this.whole = false; // whether the end has come
  }

  // Takes the data of one event.
  take(data) {
    if (data === "[DONE]") {
      this.whole = true;
      return;
    }
    let chunk;
    try {
      chunk = JSON.parse(data);
    } catch {
      this.fail({message: "the endpoint sent an event that is not JSON", code: "bad_event"});
      return;
    }
    if (chunk.error) {
      this.fail(chunk.error);
      return;
    }
    this.model = chunk.model ?? this.model;
    this.usage = chunk.usage ?? this.usage;
    this.provider = chunk.three_mode?.provider ?? this.provider;
    this.cost = chunk.three_mode?.cost ?? this.cost;
    this.ignored = chunk.three_mode?.ignored ?? this.ignored;
    const choice = chunk.choices?.[0];
    if (!choice) return;
    this.finish = choice.finish_reason ?? this.finish;
    const delta = choice.delta ?? {};
    this.text += delta.content ?? "";
    this.thinking += delta.reasoning_content ?? "";
    for (const part of delta.tool_calls ?? []) this.#call(part);
  }

  #call(part) {
    const call = (this.calls[part.index] ??= {id: "", name: "", arguments: ""});
    call.id ||= part.id ?? "";
    call.name += part.function?.name ?? "";
    call.arguments += part.function?.arguments ?? "";
  }

  // Notes what the endpoint says went wrong; the first word counts.
  fail(error) {
    this.error ??= {message: String(error.message ?? error), code: error.code ?? error.type ?? ""};
  }

  // The connection is over: an answer without an end is broken off.
  ended() {
    if (!this.whole && !this.error) this.fail({message: "the answer broke off", code: "stream_interrupted"});
  }

  // What the next request says of this answer.
  message() {
    const message = {role: "assistant", content: this.text || null};
    const calls = this.calls.filter(Boolean);
    if (calls.length) {
      message.tool_calls = calls.map((call) => (
        {id: call.id, type: "function", function: {name: call.name, arguments: call.arguments || "{}"}}));
    }
    return message;
  }
}

// JSON in lines, as people read it; text that is no JSON as it is.
export function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

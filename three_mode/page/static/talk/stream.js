// A streamed answer over HTTP: POST the request, read the events as they come.
import {EventStream} from "../sse.js";
import {PATH} from "./request.js";

// Reads an answer to its end. `changed()` is called with each piece. `signal` ends the fetch, and with it the model's work.
export async function streamed(body, answer, changed, signal) {
  try {
    const reply = await fetch(PATH, {
      method: "POST",
      headers: {"content-type": "application/json"},
      credentials: "same-origin",
      body: JSON.stringify(body),
      signal,
    });
    if (!reply.ok) {
      answer.fail(await errorOf(reply));
      return;
    }
    const events = new EventStream();
    const reader = reply.body.getReader();
    for (;;) {
      const {done, value} = await reader.read();
      if (done) break;
      for (const event of events.feed(value)) answer.take(event.data);
      changed();
    }
    answer.ended();
  } catch (error) {
    if (signal.aborted) answer.cancelled = true;
    else answer.fail({message: error.message, code: "connection"});
  } finally {
    changed();
  }
}

// What the endpoint says of a request that it refused.
async function errorOf(reply) {
  const text = await reply.text();
  try {
    return JSON.parse(text).error;
  } catch {
    return {message: text.slice(0, 500) || reply.statusText, code: String(reply.status)};
  }
}


// Talk: a chat with any model or agent of the endpoint. What a model says is text, and never markup.
import {html, useEffect, useLayoutEffect, useReducer, useRef} from "../lib/ui.js";
import {Talk} from "../talk/talk.js";
import {pretty} from "../talk/answer.js";
import {curlLine} from "../talk/request.js";
import {link} from "../link.js";
import {useLatest} from "../live.js";
import {dollars} from "../words.js";

const talk = new Talk(); // it stays while other views are shown

export function TalkView({rest}) {
  const [, again] = useReducer((turn) => turn + 1, 0);
  const about = useLatest("about");
  useEffect(() => {
    let frame = 0;
    const leave = talk.watch(() => {
      frame ||= requestAnimationFrame(() => {
        frame = 0;
        again();
      });
    });
    return () => {
      leave();
      cancelAnimationFrame(frame);
    };
  }, []);
  useEffect(() => {
    if (about) talk.begin(about.keeps_talks, about.lists_talks);
  }, [about]);
  useEffect(() => {
    if (rest) talk.set({model: rest});
  }, [rest]);
  useEffect(() => {
    const pressed = (event) => {
      if (event.key === "Escape" && talk.busy) talk.cancel();
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, []);
  return html`<section class="talk">
    <${Settings} />
    <${Said} />
    <${Words} />
    <${Raw} />
    ${talk.keeps ? html`<${Kept} />` : null}
  </section>`;
}

function Settings() {
  const set = (name) => (event) => talk.set({[name]: event.target.value});
  return html`<form class="settings" onSubmit=${(event) => event.preventDefault()}>
    <label>Model or agent
      <input id="model" list="models" value=${talk.model} onInput=${set("model")} autocomplete="off" spellcheck=${false} />
    </label>
    <datalist id="models">${talk.models.map((name) => html`<option key=${name} value=${name} />`)}</datalist>
    <label>Answers of at most <input id="most" type="number" min="1" value=${talk.most} onInput=${set("most")} /> tokens</label>
    <details><summary>More</summary>
      <label>System message <textarea id="system" rows="2" value=${talk.system} onInput=${set("system")}></textarea></label>
      <label>Further fields of the request, as JSON
        <input id="fields" value=${talk.fields} onInput=${set("fields")} placeholder='{"temperature": 0}' spellcheck=${false} />
      </label>
      <label><input id="tools" type="checkbox" checked=${talk.usesTools} disabled=${!talk.tools.length}
        onChange=${(event) => talk.set({usesTools: event.target.checked})} />
        ${talk.tools.length ? ` The model may call tools of agents: ${talk.tools.map((tool) => tool.name).join(", ")}` : " No agent offers a tool"}
      </label>
    </details>
    <button type="button" id="new" disabled=${talk.busy} onClick=${() => talk.clear()}>New talk</button>
  </form>`;
}

// What was said, with the end in view while somebody reads there.
function Said() {
  const box = useRef(null);
  const atEnd = useRef(true);
  useLayoutEffect(() => {
    if (atEnd.current) box.current.scrollTop = box.current.scrollHeight;
  });
  const scrolled = () => {
    const {scrollTop, scrollHeight, clientHeight} = box.current;
    atEnd.current = scrollHeight - scrollTop - clientHeight < 40;
  };
  return html`<div class="said" role="log" aria-label="What was said" aria-busy=${talk.busy} tabindex="0" ref=${box}
    onScroll=${scrolled}>
    ${talk.turns.map((turn, place) => html`<${Turn} key=${place} turn=${turn} />`)}
  </div>`;
}

function Turn({turn}) {
  if (turn.kind === "user") return html`<article class="user"><h3>You</h3><p class="text">${turn.text}</p></article>`;
  if (turn.kind === "result") return html`<${Result} turn=${turn} />`;
  const {answer} = turn;
  return html`<article class="model"><h3>${turn.model}</h3>
    ${answer.thinking ? html`<details class="thinking"><summary>Thinking</summary><p class="text">${answer.thinking}</p></details>` : null}
    ${answer.text ? html`<p class="text">${answer.text}</p>` : null}
    ${answer.calls.filter(Boolean).map((call) => html`<div class="call" key=${call.id}>
      <h4>Calls ${call.name}</h4><pre>${pretty(call.arguments || "{}")}</pre></div>`)}
    ${answer.error ? html`<p class="problem" role="alert">${answer.error.message}${answer.error.code ? ` (${answer.error.code})` : ""}</p>` : null}
    <p class="used">${endOf(turn)}</p>
  </article>`;
}

function Result({turn}) {
  const give = (event) => {
    event.preventDefault();
    talk.giveResult(turn, new FormData(event.target).get("result"));
  };
  return html`<article class="result"><h3>${turn.name} answers</h3>
    ${turn.text === null
      ? turn.asksYou
        ? html`<form onSubmit=${give}><label>No agent here has this tool. Its result:
            <textarea name="result" rows="2" required></textarea></label><button>Give the result</button></form>`
        : html`<p class="used">…</p>`
      : html`<pre class=${turn.failed ? "problem" : null}>${pretty(turn.text)}</pre>`}
  </article>`;
}

// How an answer ended, what it used and cost.
function endOf({answer, running}) {
  const words = [];
  if (running) words.push("writing … Esc stops it");
  if (answer.cancelled) words.push("stopped by you");
  if (answer.finish === "length") words.push("cut off at the most tokens");
  if (answer.usage?.total_tokens) {
    const {prompt_tokens: asked, completion_tokens: said, prompt_tokens_details: details} = answer.usage;
    words.push(`${asked} tokens in${details?.cached_tokens ? ` (${details.cached_tokens} from a cache)` : ""}, ${said} out`);
    words.push(answer.cost === null ? "no price known" : dollars(answer.cost));
  }
  if (answer.provider) words.push(`by ${answer.provider}`);
  if (answer.ignored.length) words.push(`without effect: ${answer.ignored.join(", ")}`);
  return words.join(" · ");
}

function Words() {
  const say = (event) => {
    event.preventDefault();
    talk.say();
  };
  const pressed = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) say(event);
  };
  return html`<form class="words" onSubmit=${say}>
    <label for="words">Your words (Enter sends, Shift and Enter begins a line)</label>
    <textarea id="words" rows="3" value=${talk.words} onInput=${(event) => talk.set({words: event.target.value})} onKeyDown=${pressed}></textarea>
    <button id="send" disabled=${talk.busy}>Send</button>
    <button type="button" id="stop" disabled=${!talk.busy} onClick=${() => talk.cancel()}>Stop (Esc)</button>
    <p class="problem" role="alert">${talk.problem}</p>
  </form>`;
}

function Raw() {
  let body;
  try {
    body = talk.lastBody ?? talk.nextBody();
  } catch (error) {
    return html`<details class="raw"><summary>The request</summary><p>${error.message}</p></details>`;
  }
  return html`<details class="raw"><summary>The request</summary>
    <pre id="json">${JSON.stringify(body, null, 2)}</pre>
    <pre id="curl">${curlLine(location.origin, body, Boolean(link.latest("about")?.keyed))}</pre>
  </details>`;
}

// Conversations that the endpoint keeps: all of them where it lists them, else those that this browser began.
function Kept() {
  const button = (name, act, off = false) => html`
    <button type="button" disabled=${talk.busy || off} onClick=${act}>${name}</button>`;
  return html`<section class="kept"><h2>Kept conversations</h2>
    <p>${talk.conversation ? "This talk is kept by the endpoint." : "This talk is kept nowhere."}
      ${button("Begin one that is kept", () => talk.beginKept())}
      ${button("Fork this one", () => talk.fork(), !talk.conversation)}</p>
    <ul>${talk.known.map((each) => html`<li key=${each.id} aria-current=${each.id === talk.conversation ? "true" : null}>
      ${button(each.title || "(nothing said yet)", () => talk.open(each.id, each.model))}
      ${button("Delete", () => talk.remove(each.id))}</li>`)}</ul>
    ${talk.more ? html`<p class="quiet">Only the latest are listed.</p>` : null}
  </section>`;
}

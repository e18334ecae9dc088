// Steering: what is to be done is asked about in a dialog, then done, and the endpoint's answer is shown.
import {html, useEffect, useRef, useState} from "./lib/ui.js";
import {ask, link} from "./link.js";
import {useLatest} from "./live.js";

const MOST_NAMED = 20;
const ASKED = {
  pause: "Pause", resume: "Resume", restart: "Restart", stop: "Stop", kill: "Kill", log_level: "Change the log level of",
};
const MEANS = { // of one, and of several
  pause: ["Its messages wait in its mailbox until it is resumed.", "Their messages wait in their mailboxes until they are resumed."],
  resume: ["It handles its messages again.", "They handle their messages again."],
  restart: ["Its current message is cancelled, and what it kept in memory is lost.", "Their current messages are cancelled, and what they kept in memory is lost."],
  stop: ["It does not come back.", "They do not come back."],
  kill: ["The process ends at once; its agents come back as their restart strategy says."],
  log_level: ["It holds for the program and all its hosts."],
};

// Shows the dialog for an order: {act, names, level}.
export function wants(order) {
  link.tell({kind: "wanted", order});
}

export function maySteer() {
  return Boolean((link.latest("hello") ?? link.latest("about"))?.may_steer);
}

export function SteerButton({act, names, label, title}) {
  return html`<button class=${`steer ${act}`} disabled=${!maySteer()} title=${title ?? null}
    onClick=${() => wants({act, names})}>${label ?? ASKED[act]}</button>`;
}

// Why nothing can be steered here, or nothing.
export function WhyNot() {
  useLatest("hello", "about");
  if (maySteer() || !link.latest("about")) return null;
  return html`<p class="quiet">To steer needs a key: start the endpoint with --api-key-file FILE, or use three-mode watch.</p>`;
}

export function SteerDialog() {
  const wanted = useLatest("wanted");
  const dialog = useRef(null);
  const [state, setState] = useState({busy: false, why: ""});
  const order = wanted?.order;
  useEffect(() => {
    if (order && !dialog.current.open) {
      setState({busy: false, why: ""});
      dialog.current.showModal();
    }
  }, [wanted]);
  const close = () => {
    dialog.current.close();
    link.tell({kind: "wanted", order: null});
  };
  const act = async (event) => {
    event.preventDefault();
    setState({busy: true, why: ""});
    const asked = () => link.latest("wanted")?.order === order; // somebody may have closed it, and asked for another
    try {
      await ask("POST", "/page/steer", order);
      if (asked()) close();
    } catch (error) {
      if (asked()) setState({busy: false, why: error.message});
    }
  };
  return html`<dialog ref=${dialog} aria-labelledby="steer-title" onClose=${() => order && close()}>
    ${order ? html`<form onSubmit=${act}>
      <h2 id="steer-title">${ASKED[order.act]} ${whom(order.names)}${order.level ? ` to ${order.level}` : ""}?</h2>
      ${order.names.length > 1 ? html`<p class="names">${named(order.names)}</p>` : null}
      <p>${MEANS[order.act][order.names.length > 1 ? 1 : 0]}</p>
      <p role="alert" class="problem-text">${state.why}</p>
      <p class="buttons">
        <button type="button" class="cancel" onClick=${close}>Cancel</button>
        <button class="act" disabled=${state.busy}>${ASKED[order.act].split(" ")[0]}</button>
      </p>
    </form>` : null}
  </dialog>`;
}

export function LogLevel() {
  const change = (event) => {
    event.preventDefault();
    const given = new FormData(event.target);
    wants({act: "log_level", names: [given.get("logger").trim()], level: given.get("level")});
  };
  return html`<form class="level" onSubmit=${change}>
    <label>Logger <input name="logger" value="three_mode" placeholder="the root" /></label>
    <label>Level <select name="level">${["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"].map((level) => html`
      <option key=${level}>${level}</option>`)}</select></label>
    <button disabled=${!maySteer()}>Change</button>
  </form>`;
}

function whom(names) {
  return names.length === 1 ? names[0] || "the root logger" : `${names.length} agents`;
}

function named(names) {
  const first = names.slice(0, MOST_NAMED).join(", ");
  return names.length > MOST_NAMED ? `${first} and ${names.length - MOST_NAMED} more` : first;
}

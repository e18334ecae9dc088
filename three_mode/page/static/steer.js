// Steering: what is to be done is asked about in a dialog, then done, and the endpoint's answer is shown.
import {html, useEffect, useRef, useState} from "./lib/ui.js";
import {ask, link} from "./link.js";
import {useLatest} from "./live.js";

const ASKED = {
  pause: "Pause", resume: "Resume", restart: "Restart", stop: "Stop", kill: "Kill", log_level: "Change the log level of",
};
const MEANS = {
  pause: "Its messages wait in its mailbox until it is resumed.",
  resume: "It handles its messages again.",
  restart: "Its current message is cancelled, and what it kept in memory is lost.",
  stop: "It does not come back.",
  kill: "The process ends at once; its agents come back as their restart strategy says.",
  log_level: "It holds for the program and all its hosts.",
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
    try {
      await ask("POST", "/page/steer", order);
      close();
    } catch (error) {
      setState({busy: false, why: error.message});
    }
  };
  return html`<dialog ref=${dialog} aria-labelledby="steer-title" onClose=${() => order && close()}>
    ${order ? html`<form onSubmit=${act}>
      <h2 id="steer-title">${ASKED[order.act]} ${named(order.names)}${order.level ? ` to ${order.level}` : ""}?</h2>
      <p>${MEANS[order.act]}</p>
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

function named(names) {
  const first = names.slice(0, 3).map((name) => name || "the root logger").join(", ");
  return names.length > 3 ? `${first} and ${names.length - 3} more` : first;
}

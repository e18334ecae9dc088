// The page: its head, its views, and what it says about itself.
import {Fragment, html, render, useEffect, useRef, useState} from "./lib/ui.js";
import {ask, link} from "./link.js";
import {useLatest} from "./live.js";
import {SteerDialog} from "./steer.js";
import {views} from "./views/all.js";

const STATES = {waiting: "connecting", open: "live", lost: "connection lost, trying again", full: "too many pages look on, trying again", refused: "a key is needed"};

let visits = 0; // a link to the same place again is another visit

// The view that the address names: "#/map", "#/map/scout/7".
function placeOf(hash) {
  const [name, ...rest] = hash.replace(/^#\/?/, "").split("/");
  const view = shown().find((each) => each.name === name) ?? shown()[0];
  visits += 1;
  return {view, rest: rest.map(decoded).join("/"), visit: visits};
}

function decoded(word) {
  try {
    return decodeURIComponent(word);
  } catch {
    return word;
  }
}

// The views that have something to show here.
function shown() {
  const about = link.latest("about");
  return views.filter((view) => !about || !view.needs || view.needs(about));
}

function Page() {
  useLatest("link", "about");
  const [place, setPlace] = useState(() => placeOf(location.hash));
  useEffect(() => {
    const moved = () => setPlace(placeOf(location.hash));
    addEventListener("hashchange", moved);
    moved();
    return () => removeEventListener("hashchange", moved);
  }, [link.latest("about")]);
  useEffect(() => {
    document.title = `${place.view.title} · ${link.latest("about")?.bus || "three-mode"}`;
    link.look(place.view.at ?? [], place.view.agentOf?.(place.rest) ?? null);
  }, [place.view.name, place.rest, link.latest("about")]);
  if (link.state === "refused") return html`<${Head} place=${place} /><${Door} />`;
  const View = place.view.View;
  return html`<${Fragment}>
    <a class="skip" href="#main">Skip to the view</a>
    <${Head} place=${place} />
    <${Problem} />
    <main id="main" tabindex="-1"><${View} rest=${place.rest} visit=${place.visit} /></main>
    <${SteerDialog} />
  </${Fragment}>`;
}

function Head({place}) {
  useLatest("link", "gap", "hello", "about");
  const about = link.latest("hello") ?? link.latest("about");
  return html`<header>
    <h1>${about?.bus || about?.recording || "three-mode"}</h1>
    <nav aria-label="Views">${shown().map((view) => html`
      <a key=${view.name} href=${`#/${view.name}`} aria-current=${view === place.view ? "page" : null}>${view.title}</a>`)}
    </nav>
    <p class=${`state ${link.state}`} role="status">${STATES[link.state]}${link.gaps ? html`
      <span class="gap"> · ${link.gaps} updates skipped: this page reads too slowly</span>` : null}</p>
  </header>`;
}

function Problem() {
  useLatest("problem", "link");
  const shown = ["", ...link.wanted.at].map((view) => link.problems.get(view)).filter(Boolean); // "": of the page itself
  return shown.length ? html`<p class="problem" role="alert">${[...new Set(shown)].join("; ")}</p>` : null;
}

// Asks for the key, where the address has brought none.
function Door() {
  const [why, setWhy] = useState("");
  const field = useRef(null);
  useEffect(() => field.current.focus(), []);
  const give = async (event) => {
    event.preventDefault();
    try {
      await ask("POST", "/page/session", {key: new FormData(event.target).get("key")});
      await begin();
    } catch (error) {
      setWhy(error.message);
    }
  };
  return html`<main id="main"><form class="door" onSubmit=${give}>
    <label for="key">This page needs a key of the endpoint.</label>
    <input id="key" name="key" type="password" autocomplete="off" required ref=${field} />
    <button>Open</button>
    <p role="alert">${why}</p>
  </form></main>`;
}

async function begin() {
  try {
    link.tell({...(await ask("GET", "/page/about")), kind: "about"});
  } catch (error) {
    if (error.status === 401) {
      link.become("refused");
      return;
    }
    link.heard({kind: "problem", view: "", why: error.message});
  }
  link.open();
}

// A key in the address is given once, and taken out of the address.
async function enter() {
  const given = /^#key=([^&]+)/.exec(location.hash);
  if (given) {
    history.replaceState(null, "", location.pathname);
    try {
      await ask("POST", "/page/session", {key: decodeURIComponent(given[1])});
    } catch (error) {
      link.heard({kind: "problem", view: "", why: error.message});
    }
  }
  await begin();
}

render(html`<${Page} />`, document.getElementById("page"));
enter();

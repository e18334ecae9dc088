// Conversations that the endpoint keeps. Whoever has the id of one may read it. Where nobody can ask for a list, this
// browser remembers those that it began.
import {ask} from "../link.js";

const PATH = "/v1/conversations";
const STORE = "three_mode_talks";
const MOST = 100;
const LONGEST_TITLE = 80;
const PAGE = 100;

// Those that this browser knows, the latest first: [{id, title, model}].
export function known() {
  try {
    const found = JSON.parse(localStorage.getItem(STORE) ?? "[]");
    return Array.isArray(found) ? found.filter((talk) => typeof talk?.id === "string") : [];
  } catch {
    return [];
  }
}

function remember(talks) {
  try {
    localStorage.setItem(STORE, JSON.stringify(talks.slice(0, MOST)));
  } catch {
    // a browser that keeps nothing: the list ends with the page
  }
  return talks;
}

// Notes that a conversation went on; returns the list.
export function note(id, title, model) {
  const before = known().find((talk) => talk.id === id);
  const named = before?.title || title.slice(0, LONGEST_TITLE);
  return remember([{id, title: named, model}, ...known().filter((talk) => talk.id !== id)]);
}

export function forget(id) {
  return remember(known().filter((talk) => talk.id !== id));
}

// Those of the endpoint, where it gives a list: the latest first.
export async function listed() {
  const {data, has_more: more} = await ask("GET", `${PATH}?limit=${PAGE}`);
  const titles = new Map(known().map((talk) => [talk.id, talk]));
  const found = data.map(({id, turns, fork_of: origin}) => ({
    id, title: titleOf(id, titles.get(id)?.title, turns, origin), model: titles.get(id)?.model ?? "",
  }));
  return {found, more};
}

function titleOf(id, title, turns, origin) {
  const named = id.startsWith("conv_") ? title || `${id.slice(0, 12)}…` : id;
  return `${named} · ${turns === 1 ? "1 turn" : `${turns} turns`}${origin ? ` · fork of ${origin}` : ""}`;
}

export async function begin() {
  return (await ask("POST", PATH, {})).id;
}

export async function forkOf(id) {
  return (await ask("POST", `${PATH}/${encodeURIComponent(id)}/fork`, {})).id;
}

export async function remove(id) {
  await ask("DELETE", `${PATH}/${encodeURIComponent(id)}`);
}

// All that was said in one, as items of the endpoint.
export async function itemsOf(id) {
  const items = [];
  for (let after = ""; ;) {
    const found = await ask("GET", `${PATH}/${encodeURIComponent(id)}/items?order=asc&limit=${PAGE}${after}`);
    items.push(...found.data);
    if (!found.has_more) return items;
    after = `&after=${encodeURIComponent(found.last_id)}`;
  }
}

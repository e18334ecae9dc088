// Hooks of views on the link.
import {useEffect, useReducer} from "./lib/ui.js";
import {link} from "./link.js";

// Draws again with each message of these kinds; returns the last of the first one.
export function useLatest(...kinds) {
  const [, again] = useReducer((turn) => turn + 1, 0);
  useEffect(() => {
    const ends = kinds.map((kind) => link.on(kind, () => again()));
    return () => ends.forEach((end) => end());
  }, kinds);
  return link.latest(kinds[0]);
}

// The table, drawn again when it changes.
export function useTable() {
  useLatest("seen");
  return link.table;
}

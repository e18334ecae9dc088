// Rows of a list that grows, as the endpoint tells them: what has come, also while another view is shown. No DOM.
import {link} from "./link.js";

const KEPT = 2000;

export class Rows {
  constructor(kind) {
    this.rows = [];
    this.leftOut = 0;
    this.lost = 0;
    link.on(kind, (message) => this.take(message));
  }

  // A page that has lost some gets the whole list again.
  take(message) {
    const rows = message.whole ? message.rows : [...this.rows, ...message.rows];
    this.leftOut = message.whole ? 0 : this.leftOut + Math.max(0, rows.length - KEPT);
    this.rows = rows.slice(-KEPT);
    this.lost = message.lost ?? 0;
  }
}

export function has(text, words) {
  return !words || text.toLowerCase().includes(words.toLowerCase());
}

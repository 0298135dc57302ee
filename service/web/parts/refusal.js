/**
 * What stands where a view would be, when the service does not give it.
 *
 *     Problem, Unreachable --refusal--> its own words, and what can be done     --isFinal--> whether to ask again
 */

import { keys, Unreachable } from "../api.js";
import { h } from "../dom.js";

const LASTING = new Set(["/problems/no-spool", "/problems/no-node"]);

/**
 * @param {Error} error
 * @param {...any} more words below it.
 */
export function refusal(error, ...more) {
  const lines = [h("p", {}, sentence(error.message))];
  if (error.status === 401) {
    const want = () => keys.dispatchEvent(new Event("asked"));
    lines.push(h("p", {}, h("button", { type: "button", class: "primary", onclick: want }, "Give a key…")));
  }
  const kind = isLasting(error) ? "note" : "note bad";
  return h("div", { class: kind, role: "status", dataset: { problem: error.type ?? "" } }, lines, more);
}

/** Whether the answer will be the same until something else changes: another key, another configuration. */
export const isFinal = (error) => [401, 403].includes(error.status) || isLasting(error);

/** Whether it is no mistake: this server is not made for it. */
export const isLasting = (error) => LASTING.has(error.type);

/** Whether an error is an answer to show, or that there was none; others are defects. */
export const isAnswer = (error) => error instanceof Unreachable || error.name === "Problem";

/** A message of the service as a sentence. */
export function sentence(text) {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}

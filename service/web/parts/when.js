/**
 * Moments as people say them.
 *
 *     "2026-11-29T00:36:20Z" --moment--> <time> "5 minutes ago", with date and time as its title
 *                                          ^-- refresh(root): the words again, for now
 */

import { h } from "../dom.js";

const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]];
const SOON_S = 45;

const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const clock = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

/**
 * How far away a moment is, in words.
 * @param {string} iso ISO 8601
 * @param {number} now milliseconds since 1970
 */
export function relative(iso, now = Date.now()) {
  const seconds = (Date.parse(iso) - now) / 1000;
  if (Number.isNaN(seconds)) return iso;
  if (Math.abs(seconds) < SOON_S) return seconds > 0 ? "in a moment" : "just now";
  for (const [unit, length] of UNITS) {
    if (Math.abs(seconds) >= 0.95 * length) return words.format(Math.round(seconds / length), unit);
  }
  return words.format(Math.sign(seconds), "minute");
}

/** Date and time in the reader's time zone. */
export const local = (iso) => (Number.isNaN(Date.parse(iso)) ? iso : clock.format(new Date(iso)));

/** An element that says when. `words`: before it, as in "expires ". */
export function moment(iso, before = "") {
  return h("time", { datetime: iso, title: local(iso), dataset: { before } }, before + relative(iso));
}

/** Says all moments below an element anew. */
export function refresh(root) {
  for (const each of root.querySelectorAll("time[data-before]")) {
    const text = each.dataset.before + relative(each.dateTime);
    if (each.textContent !== text) each.textContent = text;
  }
}

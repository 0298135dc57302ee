/**
 * The page of the PACS node.
 *
 *     GET v1/pacs, series, pulls, quarantine, every 5 s --> tiles, and rows that are kept by id
 *                     ^-- the state of a tile, the limit       '--> requeue, discard, remove, fetch --> again
 */

import { callJson } from "../api.js";
import { choice } from "../parts/choice.js";
import { fill, h, refill } from "../dom.js";
import { keyedRows } from "../parts/keyed.js";
import { tiles } from "./counts.js";
import { pulls } from "./pulls.js";
import { quarantine } from "./quarantine.js";
import { seriesRow } from "./series.js";
import { isAnswer, isFinal, isLasting, refusal } from "../parts/refusal.js";
import { repeating } from "../parts/repeat.js";
import { viewOf } from "../parts/view.js";
import { refresh } from "../parts/when.js";

const EVERY_S = 5;
const LIMITS = [20, 100, 500, 1000].map(String);

/** @param {HTMLElement} section empty. */
export function start(section) {
  let state = "";
  const changed = () => again.now();
  const trouble = h("div");
  const aet = h("span", { class: "soft" });
  const counts = tiles((picked) => {
    state = picked;
    changed();
  });
  const limit = choice("At most", changed, { id: "pacs-limit" });
  limit.offer(LIMITS.map((value) => ({ value, text: `${value} series` })));
  const which = h("h2", {}, "Series");
  const rows = h("div", { class: "items", id: "pacs-series" });
  const older = h("p", { class: "soft", hidden: true }, "Older ones are left out; let more be shown, or pick a state.");
  const none = h("p", { class: "soft", hidden: true }, "None.");
  const held = quarantine(changed);
  const pulled = pulls(changed);
  const body = h("div", { hidden: true }, counts.element,
    h("div", { class: "row head" }, which, h("span", { class: "grow" }), limit.element), none, rows, older,
    held.element, pulled.element);
  fill(section, h("div", { class: "row head" }, h("h1", {}, "PACS node"), aet), trouble, body);
  const show = keyedRows(rows, (each) => each.id, (each) => seriesRow(each, changed));
  const again = repeating(load, EVERY_S);

  async function load(signal) {
    try {
      const overview = await callJson("v1/pacs", { signal });
      const query = new URLSearchParams({ limit: limit.value(), ...(state ? { state } : {}) });
      const [series, asked, apart] = await Promise.all([
        callJson(`v1/pacs/series?${query}`, { signal }),
        callJson("v1/pacs/pulls", { signal }),
        overview.instances.quarantined ? callJson("v1/pacs/quarantine", { signal }) : { instances: [] },
      ]);
      refill(trouble, null, () => []);
      draw({ overview, ...series, ...asked, held: apart.instances });
      return true;
    } catch (error) {
      if (!isAnswer(error)) throw error;
      const how = "How to make it one: docs/pacs.md, from nothing to the first derived series.";
      refill(trouble, error.message, () => [refusal(error, isLasting(error) && h("p", { class: "soft" }, how))]);
      if (isFinal(error)) body.hidden = true;
      return !isFinal(error);
    }
  }

  function draw({ overview, series, more, pulls: list, held: instances }) {
    body.hidden = false;
    fill(aet, overview.aet);
    counts.show(overview, state);
    fill(which, state ? `Series: ${state}` : "Series, the newest first");
    none.hidden = series.length > 0;
    older.hidden = !more;
    show(series);
    held.show(instances);
    pulled.show(list);
    refresh(body);
  }

  return viewOf(again);
}

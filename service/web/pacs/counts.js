/**
 * What the node has, as tiles; those of a state are buttons that filter the list of series.
 *
 *     GET v1/pacs --tilesOf--> {state, series, instances} --keyed--> tiles, pressed: the state that is shown
 */

import { fill, h } from "../dom.js";
import { keyedRows, whenChanged } from "../parts/keyed.js";
import { counted } from "../models/words.js";

/** A bad end: somebody has to look. */
const BAD = ["failed", "dead"];

/** In the order of what happens, those with a bad end first. */
const STATES = [...BAD, "waiting", "restoring", "delivering", "delivered", "kept", "discarded"];
const OTHERS = ["arriving", "quarantined", "left_out"];

/**
 * @param {{series: Object<string, number>, instances: Object<string, number>}} overview
 * @returns {{state: string, series: number | null, instances: number, filters: boolean, bad: boolean}[]}
 */
function tilesOf({ series, instances }) {
  return [...STATES, ...OTHERS].map((state) => {
    const filters = STATES.includes(state);
    const some = (series[state] ?? 0) + (instances[state] ?? 0) > 0;
    return {
      state,
      filters,
      series: filters || state === "arriving" ? series[state] ?? 0 : null,
      instances: instances[state] ?? 0,
      bad: some && (BAD.includes(state) || state === "quarantined"),
    };
  });
}

/** @param {(state: string) => void} pick "" for all. */
export function tiles(pick) {
  const element = h("div", { class: "tiles", role: "group", "aria-label": "Series by state" });
  const show = keyedRows(element, (item) => item.state, ({ state, filters }) => {
    const press = () => pick(place.getAttribute("aria-pressed") === "true" ? "" : state);
    const named = { class: "tile", dataset: { state } };
    const place = filters ? h("button", { type: "button", ...named, onclick: press }) : h("div", named);
    const update = whenChanged(({ series, instances, bad, pressed }) => {
      place.classList.toggle("bad", bad);
      if (filters) place.setAttribute("aria-pressed", String(pressed));
      fill(place,
        h("b", {}, counted(series ?? instances)),
        h("span", {}, state.replace("_", " ")),
        h("span", { class: "soft" }, series === null ? "instances" : `${counted(instances)} instances`));
    });
    return { element: place, update };
  });
  const pressed = (picked) => (tile) => ({ ...tile, pressed: tile.state === picked });
  return { element, show: (overview, picked) => show(tilesOf(overview).map(pressed(picked))) };
}

/** For files that state no unit: a form that says how their values become HU. */

import { byId, h, refill, say } from "../dom.js";

/** Of files with whole numbers, as this service writes HU into them; floating-point files hold HU themselves. */
const STORED_INTERCEPT = -1024;
const FLOATING = /\.npy$/i;
const UNSUITABLE = 422;

/** @param {import("./session.js").Session} session */
export function start(session) {
  session.addEventListener("change", ({ names }) => {
    if (["study", "loaded"].some((name) => names.has(name))) show(session);
  });
}

function show(session) {
  const { study } = session;
  const place = byId("unit");
  const why = study ? reason(study) : null;
  place.hidden = why === null;
  if (why === null) return;
  refill(place, [study.title, study.sources[0].name, why, study.rescale], () => form(session, why));
}

/** "shown": as a picture, or in HU by what the user said; "refused": as a picture it cannot be; null: it has a unit. */
function reason({ about, sources, slices }) {
  if (about) return about.format === "dicom" ? null : "shown";
  const [failed] = sources.map((source) => source.failed);
  return slices.length === 0 && failed.status === UNSUITABLE && !/\.dcm$/i.test(sources[0].name) ? "refused" : null;
}

function form(session, why) {
  const { rescale, sources } = session.study;
  const [slope, intercept] = rescale ?? [1, FLOATING.test(sources[0].name) ? 0 : STORED_INTERCEPT];
  const input = (label, value) => h("input", { type: "number", step: "any", value: String(value), "aria-label": label });
  const [slopeInput, interceptInput] = [input("Slope", slope), input("Intercept", intercept)];
  const reopen = (values) => session.open(session.study.again(values));
  const readAsHu = () => {
    const values = [slopeInput.valueAsNumber, interceptInput.valueAsNumber];
    if (values.every(Number.isFinite) && values[0] !== 0) reopen(values);
    else say("Both have to be numbers, and the slope not 0.", "error");
  };
  const words = {
    shown: rescale ? "Its values are read as HU:" : "The file states no unit: it is shown from 0 (black) to 1 (white). If it is CT, say how its values become HU:",
    refused: "If it is CT, say how its values become HU:",
  };
  return [
    h("p", { class: "soft" }, words[why]),
    h("p", { class: "row" }, "HU = ", slopeInput, " × value + ", interceptInput),
    h(
      "p",
      { class: "row" },
      h("button", { type: "button", onclick: readAsHu }, "Read as HU"),
      (rescale || why === "refused") && h("button", { type: "button", onclick: () => reopen(null) }, "Read as a picture"),
    ),
  ];
}

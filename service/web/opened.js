/** What was opened: its name, how far it is read, which series is shown, what was left out; and the reference. */

import { byId, h, refill } from "./dom.js";
import { fits } from "./study.js";

const SHOWN_LEFT_OUT = 5;

/** @param {import("./session.js").Session} session */
export function start(session) {
  session.addEventListener("change", ({ names }) => {
    if (["study", "loaded", "reference", "about"].some((name) => names.has(name))) show(session);
  });
}

function show(session) {
  const { study, reference, loader } = session;
  byId("opened").hidden = !study;
  byId("drop").classList.toggle("done", Boolean(study));
  byId("reference").hidden = !study?.about || Boolean(reference);
  if (!study) return;
  const seen = {
    title: study.title,
    slices: study.slices.length,
    read: study.complete() ? null : [study.sources.filter(({ about, failed }) => about || failed).length, study.sources.length],
    paused: loader.paused?.message ?? null,
    series: study.series(),
    shown: study.shown(),
    failed: study.leftOut().map(({ name, failed }) => [name, failed.message]),
    reference: reference && {
      title: reference.title,
      failed: reference.leftOut().map(({ name, failed }) => [name, failed.message]),
      mismatch: mismatch(study, reference),
    },
  };
  refill(byId("opened"), seen, () => content(seen, session));
}

function content({ title, slices, read, paused, series, shown, failed, reference }, session) {
  return [
    h("p", { class: "opened" }, h("strong", {}, title), slices > 1 ? ` ${slices} slices` : ""),
    series.length > 1 && chooser(series, shown, session),
    read && h("progress", { value: read[0], max: read[1], "aria-label": "Files read" }),
    paused && h("div", { class: "note", role: "status" }, h("p", {}, paused), h("button", { type: "button", onclick: () => session.retry() }, "Try again")),
    failed.length > 0 && leftOut(failed, slices === 0),
    reference && h("p", { class: "opened" }, "Reference: ", h("strong", {}, reference.title), " ", h("button", { type: "button", class: "plain", "aria-label": "Take the reference away", onclick: () => session.closeReference() }, "×")),
    reference && reference.failed.length > 0 && leftOut(reference.failed, true),
    reference?.mismatch && h("p", { class: "note bad", role: "alert" }, reference.mismatch),
  ];
}

/** Where there are several series, which one to look at: they are never shown as one. */
function chooser(series, shown, session) {
  const options = series.map((each, index) => h("option", { value: each.key, selected: each.key === shown }, seriesWords(each, index)));
  return h("p", {}, h("select", { "aria-label": "Series", id: "series", onchange: ({ target }) => session.choose(target.value) }, options));
}

function seriesWords({ about: { unit, rows, columns, instance }, slices, from, to }, index) {
  const places = from === null ? null : from === to ? `at ${from.toFixed(1)} mm` : `${from.toFixed(1)} to ${to.toFixed(1)} mm`;
  const words = [`${slices} slices`, places, instance?.kernel, instance?.slice_thickness && `${instance.slice_thickness} mm thick`, `${rows} × ${columns}`, unit];
  return `${index + 1}: ${words.filter(Boolean).join(", ")}`;
}

function leftOut(failed, broken) {
  return h(
    "div",
    { class: `note ${broken ? "bad" : ""}`, role: broken ? "alert" : "status" },
    h("p", {}, broken ? "It cannot be shown:" : `${failed.length} left out:`),
    failed.slice(0, SHOWN_LEFT_OUT).map(([name, why]) => h("p", {}, h("code", {}, name), ` ${why}`)),
    failed.length > SHOWN_LEFT_OUT && h("p", {}, `and ${failed.length - SHOWN_LEFT_OUT} more`),
  );
}

function mismatch(study, reference) {
  if (fits(study, reference)) return null;
  const told = ({ rows, columns, unit }) => `${rows} × ${columns} in ${unit}`;
  return `The reference is ${told(reference.about)}, and the image ${told(study.about)}: nothing can be measured.`;
}

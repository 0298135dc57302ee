/** What was opened: its name, how far it is read, which series is shown, what was left out; and the reference. */

import { byId, fill, h, refill } from "../dom.js";
import { fits } from "./study.js";

const SHOWN_LEFT_OUT = 5;

/** @param {import("./session.js").Session} session */
export function start(session) {
  const study = parts("Series", "Files read");
  const reference = parts("Series of the reference", "Files of the reference read");
  const mismatch = h("div");
  fill(byId("opened"), study.elements, reference.elements, mismatch);
  session.addEventListener("change", ({ names }) => {
    if (["study", "loaded", "reference", "about"].some((name) => names.has(name))) show(session, { study, reference, mismatch });
  });
}

/** Places that change each for itself, so that a list that is open stays open, and nothing is said twice. */
function parts(seriesLabel, progressLabel) {
  const [title, series, progress, trouble, leftOut] = Array.from({ length: 5 }, () => h("div"));
  return { title, series, progress, trouble, leftOut, seriesLabel, progressLabel, elements: [title, series, progress, trouble, leftOut] };
}

function show(session, { study: own, reference: other, mismatch }) {
  const { study, reference } = session;
  byId("opened").hidden = !study;
  byId("drop").classList.toggle("done", Boolean(study));
  byId("reference").hidden = !study?.about || Boolean(reference);
  if (!study) return;
  const count = study.slices.length > 1 ? ` ${study.slices.length} slices` : "";
  refill(own.title, [study.title, count], () => [h("p", { class: "opened" }, h("strong", {}, study.title), count)]);
  tell(study, session.loader, own, { choose: (key) => session.choose(key), retry: () => session.retry() });
  refill(other.title, reference?.title ?? null, () => (reference ? [referenceTitle(session)] : []));
  tell(reference, session.referenceLoader, other, { choose: (key) => session.chooseReference(key), retry: () => session.retry() });
  const words = reference && mismatchOf(study, reference);
  refill(mismatch, words, () => (words ? [h("p", { class: "note bad", role: "alert" }, words)] : []));
}

function referenceTitle(session) {
  const away = h("button", { type: "button", class: "plain", "aria-label": "Take the reference away", onclick: () => session.closeReference() }, "×");
  return h("p", { class: "opened" }, "Reference: ", h("strong", {}, session.reference.title), " ", away);
}

/** How far a study is read, what of it is shown, and what is not. */
function tell(study, loader, places, { choose, retry }) {
  const series = study?.series() ?? [];
  refill(places.series, [series, study?.shown()], () => (series.length > 1 ? [chooser(series, study.shown(), places.seriesLabel, choose)] : []));
  const read = study && !study.complete() ? [study.sources.filter(({ about, failed }) => about || failed).length, study.sources.length] : null;
  refill(places.progress, read, () => (read ? [h("progress", { value: read[0], max: read[1], "aria-label": places.progressLabel })] : []));
  const trouble = loader?.unread()?.message ?? null;
  refill(places.trouble, trouble, () => (trouble ? [troubled(trouble, retry)] : []));
  const failed = study?.leftOut().map(({ name, failed: why }) => [name, why.message]) ?? [];
  const none = study?.slices.length === 0;
  refill(places.leftOut, [failed, none], () => (failed.length ? [leftOut(failed, none)] : []));
}

const troubled = (words, retry) =>
  h("div", { class: "note", role: "status" }, h("p", {}, words), h("button", { type: "button", onclick: retry }, "Try again"));

/** Where there are several series, which one to look at: they are never shown as one. */
function chooser(series, shown, label, choose) {
  const options = series.map((each, index) => h("option", { value: each.key, selected: each.key === shown }, seriesWords(each, index)));
  return h("p", {}, h("select", { "aria-label": label, onchange: ({ target }) => choose(target.value) }, options));
}

function seriesWords({ about: { unit, rows, columns, instance }, slices, from, to }, index) {
  const places = from === null ? null : from === to ? `at ${from.toFixed(1)} mm` : `${from.toFixed(1)} to ${to.toFixed(1)} mm`;
  const words = [slices === 1 ? "1 slice" : `${slices} slices`, places, instance?.kernel, instance?.slice_thickness && `${instance.slice_thickness} mm thick`, `${rows} × ${columns}`, unit];
  return `${index + 1}: ${words.filter(Boolean).join(", ")}`;
}

function leftOut(failed, none) {
  return h(
    "div",
    { class: `note ${none ? "bad" : ""}`, role: none ? "alert" : "status" },
    h("p", {}, none ? "It cannot be shown:" : `${failed.length} left out:`),
    failed.slice(0, SHOWN_LEFT_OUT).map(([name, why]) => h("p", {}, h("code", {}, name), ` ${why}`)),
    failed.length > SHOWN_LEFT_OUT && h("p", {}, `and ${failed.length - SHOWN_LEFT_OUT} more`),
  );
}

function mismatchOf(study, reference) {
  if (fits(study, reference)) return null;
  const told = ({ rows, columns, unit }) => `${rows} × ${columns} in ${unit}`;
  return `The reference is ${told(reference.about)}, and the image ${told(study.about)}: nothing can be measured.`;
}

/**
 * With a reference: how far every image of the slice is from it, under each contract.
 *
 *     shown images, reference --POST v1/metrics, when the reader rests--> rows --> sortable table with bars
 */

import { measure } from "./asks.js";
import { h, refill, svg } from "../dom.js";
import { combine } from "./planes.js";
import { sortableTable } from "../parts/table.js";
import { images } from "./views.js";

const REST_MS = 300;
const BAR = 34;
const METRICS = {
  psnr: { title: "PSNR, dB", digits: 2, better: "higher" },
  ssim: { title: "SSIM", digits: 4, better: "higher" },
  rmse: { title: "RMSE", digits: 2, better: "lower" },
  bias: { title: "Bias", digits: 2, better: "nearer to 0" },
};

/** @param {import("./session.js").Session} session */
export function start(session) {
  const place = h("section", { class: "card", id: "metrics-card", "aria-label": "Metrics", hidden: true });
  const sorted = new Map();
  let timer = 0;
  let abort = new AbortController();
  let before = null;
  session.addEventListener("change", ({ names }) => {
    if (!["loaded", "models", "strength", "index", "reference", "study", "about", "retry"].some((name) => names.has(name))) return;
    place.hidden = !session.reference;
    const wanted = session.reference ? measurable(session) : null;
    if (same(wanted, before) && !names.has("retry")) return; // a slice elsewhere arrived, say
    before = wanted;
    clearTimeout(timer);
    abort.abort();
    abort = new AbortController();
    if (!wanted) return;
    const { signal } = abort;
    if (wanted.rows.every(({ view }) => knownOf(view, wanted.truth))) show(place, session, wanted, sorted);
    else timer = setTimeout(() => refresh(place, session, wanted, { signal, sorted }), REST_MS);
  });
  return place;
}

function same(a, b) {
  if (!a || !b || a.truth !== b.truth || a.waiting !== b.waiting || a.rows.length !== b.rows.length || a.which !== b.which) return false;
  return a.rows.every(({ view }, at) => {
    const other = b.rows[at].view;
    return view.title === other.title && view.terms.every(([plane, weight], each) => plane === other.terms[each]?.[0] && weight === other.terms[each][1]);
  });
}

/** Which images are there to be measured, and what of; or why there is nothing to measure yet. */
function measurable(session) {
  if (!session.study?.about || !session.slice()) return { truth: null, waiting: "reading…", rows: [], which: "" };
  const { plane, waiting } = session.truth();
  const rows = plane ? images(session).filter(({ id, terms }) => id !== "reference" && terms) : [];
  const { study, index } = session;
  const which = study.slices.length > 1 ? `Slice ${index + 1} of ${study.slices.length}` : "This image";
  return { truth: plane, waiting, rows: rows.map((view) => ({ view })), which };
}

async function refresh(place, session, wanted, { signal, sorted }) {
  const { unit } = session.study.about;
  try {
    for (const { view } of wanted.rows) {
      if (knownOf(view, wanted.truth)) continue;
      const [plane] = view.terms.at(-1);
      const entries = await measure({ ...plane, data: combine(view.terms) }, wanted.truth, unit, signal);
      remember(view, wanted.truth, entries);
    }
    if (!signal.aborted) show(place, session, wanted, sorted);
  } catch (error) {
    if (!signal.aborted) refill(place, error.message, () => [h("h2", {}, "Metrics"), failed(error, session)]);
  }
}

const failed = (error, session) =>
  h("div", { class: "note bad", role: "alert" }, h("p", {}, error.message), h("button", { type: "button", onclick: () => session.retry() }, "Try again"));

/** Answers by the planes that they are of, so that what is looked at again is not measured again. */
const answers = new WeakMap();
const keyOf = ({ id, terms }) => `${id} ${terms.map(([, weight]) => weight).join(" ")}`;

function knownOf(view, truth) {
  return answers.get(truth)?.get(view.terms.at(-1)[0])?.get(keyOf(view));
}

function remember(view, truth, entries) {
  const [plane] = view.terms.at(-1);
  if (!answers.has(truth)) answers.set(truth, new WeakMap());
  const ofTruth = answers.get(truth);
  if (!ofTruth.has(plane)) ofTruth.set(plane, new Map());
  ofTruth.get(plane).set(keyOf(view), entries);
}

function show(place, session, { truth, waiting, rows, which }, sorted) {
  const found = rows.map(({ view }) => ({ title: view.title, entries: knownOf(view, truth) }));
  refill(place, [which, waiting, found], () => [
    h("h2", {}, "Metrics"),
    h("p", { class: "soft" }, `${which} against the reference. One image says little about a model: its scores over patients are on the page Models.`),
    found.length ? tables(found, session.study.about.unit, sorted) : h("p", {}, waiting),
  ]);
}

function tables(found, unit, sorted) {
  return found[0].entries.map(({ contract }, index) => {
    const rows = found.map(({ title, entries }) => ({ title, ...entries[index].image }));
    if (!sorted.has(contract.name)) sorted.set(contract.name, { column: 1, descending: true });
    const columns = [{ title: "Image", value: (row) => row.title, head: true }, ...Object.keys(METRICS).map((name) => metricColumn(name, rows, unit))];
    const label = `Metrics: ${contract.name}`;
    return h("div", { class: "contract" }, h("h3", {}, contractTitle(contract, unit)), sortableTable({ label, columns, rows, sorted: sorted.get(contract.name) }));
  });
}

function contractTitle({ name, low, high, ssim_taps: taps }, unit) {
  return `${name}: ${low} to ${high}${unit === "HU" ? " HU" : ""}, SSIM window ${taps} × ${taps}`;
}

function metricColumn(name, rows, unit) {
  const { title, digits, better } = METRICS[name];
  const most = Math.max(...rows.map((row) => Math.abs(row[name] ?? 0)), Number.EPSILON);
  const physical = name === "rmse" || name === "bias";
  const places = physical && unit !== "HU" ? 4 : digits;
  const identical = (row) => row.identical && name === "psnr";
  return {
    title: physical && unit === "HU" ? `${title}, HU` : title,
    number: true,
    help: `${better} is better`,
    value: (row) => (identical(row) ? Infinity : row[name]),
    cell: (row) => (row[name] === null ? (identical(row) ? "identical" : "–") : [bar(Math.abs(row[name]) / most), row[name].toFixed(places)]),
  };
}

const bar = (share) =>
  svg("svg", { width: BAR, height: 8, class: "bar-in-cell", "aria-hidden": "true" }, svg("rect", { width: Math.max(1, share * BAR), height: 8, rx: 2 }));

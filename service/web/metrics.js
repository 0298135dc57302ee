/**
 * With a reference: how far every image of the slice is from it, under each contract.
 *
 *     shown images, reference --POST v1/metrics, when the reader rests--> rows --> sortable table with bars
 */

import { measure } from "./asks.js";
import { fill, h, svg } from "./dom.js";
import { combine } from "./planes.js";
import { sortableTable } from "./table.js";
import { images } from "./views.js";

const REST_MS = 300;
const BAR = 60;
const METRICS = {
  psnr: { title: "PSNR, dB", digits: 2, better: "higher" },
  ssim: { title: "SSIM", digits: 4, better: "higher" },
  rmse: { title: "RMSE", digits: 2, better: "lower" },
  bias: { title: "Bias", digits: 2, better: "nearer to 0" },
};

/** @param {import("./session.js").Session} session */
export function start(session) {
  const place = h("section", { class: "card", id: "metrics-card", "aria-label": "Metrics", hidden: true });
  let timer = 0;
  let abort = null;
  session.addEventListener("change", ({ names }) => {
    if (!["loaded", "models", "strength", "index", "reference", "study"].some((name) => names.has(name))) return;
    place.hidden = !session.reference;
    clearTimeout(timer);
    abort?.abort();
    if (!session.reference) return;
    abort = new AbortController();
    const { signal } = abort;
    timer = setTimeout(() => refresh(session, place, signal), REST_MS);
  });
  return place;
}

/** Answers by what they are of, so that a slice that is looked at again is not measured again. */
const known = new WeakMap();

async function refresh(session, place, signal) {
  const truth = session.truth();
  const wanted = session.study?.about ? images(session).filter(({ id, terms }) => id !== "reference" && terms) : [];
  if (!truth || wanted.length === 0) return;
  const { unit } = session.study.about;
  try {
    const rows = [];
    for (const view of wanted) rows.push({ id: view.id, title: view.title, entries: await measured(view, truth, unit, signal) });
    if (!signal.aborted) show(place, rows, unit, session);
  } catch (error) {
    if (!signal.aborted) fill(place, h("h2", {}, "Metrics"), h("p", { class: "note bad", role: "alert" }, error.message));
  }
}

async function measured({ terms, id }, truth, unit, signal) {
  const key = `${id} ${terms.map(([, weight]) => weight).join(" ")}`;
  const [plane] = terms.at(-1);
  const found = known.get(plane) ?? new Map();
  known.set(plane, found);
  if (found.get(key)?.truth !== truth) {
    found.set(key, { truth, entries: await measure({ ...plane, data: combine(terms) }, truth, unit, signal) });
  }
  return found.get(key).entries;
}

function show(place, rows, unit, session) {
  const contracts = rows[0].entries.map(({ contract }) => contract);
  const tables = contracts.map((contract, index) => {
    const flat = rows.map(({ id, title, entries }) => ({ id, title, ...entries[index].image }));
    return h(
      "div",
      { class: "contract" },
      h("h3", {}, contractTitle(contract, unit)),
      sortableTable({
        label: `Metrics: ${contract.name}`,
        sorted: { column: 1, descending: true },
        columns: [
          { title: "Image", value: (row) => row.title, head: true },
          ...Object.entries(METRICS).map(([name, metric]) => metricColumn(name, metric, flat, unit)),
        ],
        rows: flat,
      }),
    );
  });
  const which = session.study.slices.length > 1 ? `Slice ${session.index + 1} of ${session.study.slices.length}` : "This image";
  fill(place, h("h2", {}, "Metrics"), h("p", { class: "soft" }, `${which} against the reference. One image says little about a model: its scores over patients are on the page Models.`), tables);
}

function contractTitle({ name, low, high, ssim_taps: taps }, unit) {
  const words = name.replaceAll("_", " ").replaceAll("-", " ");
  return `${words}: ${low} to ${high}${unit === "HU" ? " HU" : ""}${taps ? `, SSIM window ${taps} × ${taps}` : ""}`;
}

function metricColumn(name, { title, digits, better }, rows, unit) {
  const values = rows.map((row) => row[name]).filter(Number.isFinite).map((value) => (name === "bias" ? Math.abs(value) : value));
  const most = Math.max(...values, Number.EPSILON);
  const withUnit = ["rmse", "bias"].includes(name) && unit === "HU" ? `${title}, HU` : title;
  const places = unit === "HU" || ["psnr", "ssim"].includes(name) ? digits : 4;
  return {
    title: withUnit, number: true, help: `${better} is better`,
    value: (row) => (row.identical && name === "psnr" ? Infinity : row[name]),
    cell: (row) => (row[name] == null ? (row.identical && name === "psnr" ? "identical" : "–") : [bar(Math.abs(row[name]) / most), row[name].toFixed(places)]),
  };
}

const bar = (share) =>
  svg("svg", { width: BAR, height: 8, class: "bar-in-cell", "aria-hidden": "true" }, svg("rect", { width: Math.max(1, share * BAR), height: 8, rx: 2 }));

/**
 * From what the user drops or chooses to a study; what became of it; and the unit of files that state none.
 *
 *     drop, choose, sample --sourcesOf--> Study --Session.open--> noise and auto, once
 */

import { look } from "./asks.js";
import { urlOf } from "./api.js";
import { byId, fill, h, say } from "./dom.js";
import { sourcesOf, Study } from "./study.js";

const SAMPLE = ["sample-low-dose.dcm", "sample-full-dose.dcm"];
const SHOWN_LEFT_OUT = 5;

/** @param {import("./session.js").Session} session */
export function start(session) {
  const [file, folder, truth] = ["file", "folder", "reference-file"].map(byId);
  byId("choose").addEventListener("click", () => file.click());
  byId("choose-folder").addEventListener("click", () => folder.click());
  byId("choose-reference").addEventListener("click", () => truth.click());
  byId("sample").addEventListener("click", () => guarded(() => openSample(session)));
  for (const input of [file, folder]) input.addEventListener("change", () => taken(input, (files) => open(session, files)));
  truth.addEventListener("change", () => taken(truth, (files) => openReference(session, files)));
  dropping(session);
  session.addEventListener("change", ({ names }) => {
    if (["study", "loaded", "reference", "about"].some((name) => names.has(name))) show(session);
  });
}

function taken(input, work) {
  const files = [...input.files];
  input.value = ""; // so that the same file can be chosen again
  if (files.length) guarded(() => work(files));
}

async function guarded(work) {
  try {
    await work();
  } catch (error) {
    if (error.name !== "AbortError") say(error.message, "error");
  }
}

async function open(session, files) {
  const sources = await sourcesOf(files);
  if (sources.length === 0) throw new Error("There is no file in it.");
  const title = files.length === 1 ? files[0].name : `${files.length} files`;
  const archive = files.length === 1 && sources[0].name !== files[0].name ? files[0] : null;
  const study = new Study(sources, { title, archive });
  session.open(study);
  await readNoise(session, study);
}

/** Noise and auto's choice, from the first file; they take a little longer than its pixels, which come first. */
async function readNoise(session, study) {
  await new Promise((resolve) => {
    const seen = () => study.about || study.complete();
    if (seen()) resolve();
    else session.loader.addEventListener("loaded", () => seen() && resolve());
  });
  if (!study.about || session.study !== study) return;
  const shown = study.about;
  const middle = study.slices[Math.floor(study.slices.length / 2)].source;
  const { about } = await look({ blob: await middle.blob(), rescale: study.rescale }, { noise: true });
  if (session.study !== study || study.about !== shown) return;
  Object.assign(study, { noise: about.noise, auto: about.auto });
  // no chosen model takes this unit: what auto takes is better than nothing
  if (about.auto.model && session.chosen().length === 0) session.set({ models: [...session.models, about.auto.model] });
  session.announce("about");
}

async function openReference(session, files) {
  const sources = await sourcesOf(files);
  const count = session.study.sources.length;
  if (sources.length !== count) {
    throw new Error(`The reference has ${sources.length} files, and the image ${count}; both need as many, in the same order.`);
  }
  const { rescale } = session.study;
  session.openReference(new Study(sources, { title: files.length === 1 ? files[0].name : `${files.length} files`, rescale }));
}

async function openSample(session) {
  const files = await Promise.all(
    SAMPLE.map(async (name) => {
      const answer = await fetch(urlOf(`web/${name}`));
      if (!answer.ok) throw new Error("The sample is not on this server.");
      return new File([await answer.blob()], name.replace("sample-", ""));
    }),
  );
  const opened = open(session, files.slice(0, 1));
  await openReference(session, files.slice(1));
  await opened;
}

function dropping(session) {
  const place = byId("drop");
  let depth = 0;
  const over = (on) => place.classList.toggle("over", on);
  addEventListener("dragenter", () => over(++depth > 0));
  addEventListener("dragleave", () => over(--depth > 0));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    over(false);
    const reference = byId("reference").contains(event.target);
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const files = [...event.dataTransfer.files];
    guarded(async () => {
      const found = entries.some((entry) => entry.isDirectory) ? (await Promise.all(entries.map(filesBelow))).flat() : files;
      await (reference ? openReference : open)(session, found);
    });
  });
}

/** All files below a dropped folder. */
async function filesBelow(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return found;
    found.push(...(await Promise.all(some.map(filesBelow))).flat());
  }
}

function show(session) {
  const { study, reference } = session;
  byId("opened").hidden = !study;
  byId("drop").classList.toggle("done", Boolean(study));
  if (!study) return;
  const failed = study.leftOut();
  const broken = study.slices.length === 0;
  byId("reference").hidden = !study.about || Boolean(reference);
  fill(
    byId("opened"),
    h("p", { class: "opened" }, h("strong", {}, study.title), study.slices.length > 1 ? ` ${study.slices.length} slices` : ""),
    series(session),
    !study.complete() && h("progress", { max: study.sources.length, value: study.sources.filter(({ about, failed: why }) => about || why).length, "aria-label": "Files read" }),
    failed.length > 0 && leftOut(failed, broken),
    reference && h("p", { class: "opened" }, "Reference: ", h("strong", {}, reference.title), " ", h("button", { type: "button", class: "plain", "aria-label": "Take the reference away", onclick: () => session.closeReference() }, "×")),
    reference && reference.leftOut().length > 0 && leftOut(reference.leftOut(), true),
    reference && mismatch(study, reference),
  );
  unit(session);
}

/** Where there are several, which one to look at: they are never shown as one. */
function series(session) {
  const { study } = session;
  const all = study.series();
  if (all.length < 2) return null;
  const words = ({ about: { unit: name, rows, columns, instance }, count }, index) =>
    [`${index + 1}: ${count} slices`, instance?.kernel, instance?.slice_thickness && `${instance.slice_thickness} mm`, `${rows} × ${columns}`, name].filter(Boolean).join(", ");
  const shown = all.findIndex(({ about }) => about === study.about);
  const select = h("select", { "aria-label": "Series", id: "series" }, all.map((each, index) => h("option", { value: each.key, selected: index === shown }, words(each, index))));
  select.addEventListener("change", () => {
    session.choose(select.value);
    guarded(() => readNoise(session, study));
  });
  return h("p", {}, select);
}

function leftOut(failed, broken) {
  return h(
    "div",
    { class: `note ${broken ? "bad" : ""}`, role: broken ? "alert" : "status" },
    h("p", {}, broken ? "It cannot be shown:" : `${failed.length} left out:`),
    failed.slice(0, SHOWN_LEFT_OUT).map(({ name, failed: why }) => h("p", {}, h("code", {}, name), ` ${why}`)),
    failed.length > SHOWN_LEFT_OUT && h("p", {}, `and ${failed.length - SHOWN_LEFT_OUT} more`),
  );
}

function mismatch({ about }, { about: other }) {
  if (!about || !other || (about.rows === other.rows && about.columns === other.columns && about.unit === other.unit)) return null;
  const told = ({ rows, columns, unit: name }) => `${rows} × ${columns} in ${name}`;
  return h("p", { class: "note bad", role: "alert" }, `The reference is ${told(other)}, and the image ${told(about)}: nothing can be measured.`);
}

/** For files that state no unit: a form that gives them one. */
function unit(session) {
  const { study } = session;
  const place = byId("unit");
  const format = study.about?.format ?? (study.slices.length === 0 && !/\.dcm$/i.test(study.title) ? "unknown" : "dicom");
  place.hidden = format === "dicom";
  if (place.hidden || place.dataset.for === study.title) return;
  place.dataset.for = study.title;
  const [slope, intercept] = ["1", "-1024"].map((value, index) => h("input", { type: "number", step: "any", value, "aria-label": ["Slope", "Intercept"][index] }));
  const reopen = (rescale) => {
    const sources = study.sources.map((source) => ({ ...source, about: null, failed: "" }));
    const again = new Study(sources, { title: study.title, archive: study.archive, rescale });
    session.open(again);
    guarded(() => readNoise(session, again));
  };
  fill(
    place,
    h("p", { class: "soft" }, "The file states no unit: it is shown from 0 (black) to 1 (white). If it is CT, say how its values become HU:"),
    h("p", { class: "row" }, "HU = ", slope, " × value + ", intercept),
    h(
      "p",
      { class: "row" },
      h("button", { type: "button", onclick: () => reopen([slope.valueAsNumber, intercept.valueAsNumber]) }, "Read as HU"),
      h("button", { type: "button", onclick: () => reopen(null) }, "Read as it is"),
    ),
  );
}

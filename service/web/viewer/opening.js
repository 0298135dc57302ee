/**
 * From what the user drops or chooses to a study, or to the reference of one.
 *
 *     drop, choose, sample --sourcesOf--> Study --Session.open--> ...; noise and auto's choice, once
 *
 */

import { look } from "./asks.js";
import { urlOf } from "../api.js";
import { byId, say } from "../dom.js";
import { sourcesOf, Study } from "./study.js";

const EMPTY = "There is no file in it.";
const SAMPLE = ["sample-low-dose.dcm", "sample-full-dose.dcm"];

/** @param {import("./session.js").Session} session */
export function start(session) {
  const opener = new Opener(session);
  const [file, folder, truth] = ["file", "folder", "reference-file"].map(byId);
  byId("choose").addEventListener("click", () => file.click());
  byId("choose-folder").addEventListener("click", () => folder.click());
  byId("choose-reference").addEventListener("click", () => truth.click());
  byId("sample").addEventListener("click", () => guarded(() => opener.openSample()));
  for (const input of [file, folder]) input.addEventListener("change", () => taken(input, (files) => opener.open(files)));
  truth.addEventListener("change", () => taken(truth, (files) => opener.openReference(files)));
  dropping(opener);
  followNoise(session);
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

/** What the user wants last, wins: each gesture takes a turn, and is given up when another one came. */
class Opener {
  constructor(session) {
    this.session = session;
    this._turn = 0;
    this._referenceTurn = 0;
  }

  /** Opens files in place of what was open. */
  async open(files) {
    const mine = ++this._turn;
    const sources = await sourcesOf(await files);
    if (mine === this._turn) this._open(sources, await files);
  }

  /** Sets the truth beside what is open now. */
  async openReference(files) {
    const { study } = this.session;
    const mine = ++this._referenceTurn;
    const sources = await sourcesOf(await files);
    if (this.session.study === study && mine === this._referenceTurn) this._openReference(sources, await files);
  }

  /** Opens the sample that comes with the page, with its truth. */
  async openSample() {
    const mine = ++this._turn;
    const files = await Promise.all(SAMPLE.map(fetchSample));
    const [low, full] = await Promise.all(files.map((each) => sourcesOf([each])));
    if (mine !== this._turn) return;
    this._open(low, files.slice(0, 1));
    this._openReference(full, files.slice(1));
  }

  _open(sources, files) {
    if (sources.length === 0) throw new Error(EMPTY);
    const archive = files.length === 1 && sources[0].name !== files[0].name ? files[0] : null;
    this.session.open(new Study(sources, { title: titleOf(files), archive }));
  }

  _openReference(sources, files) {
    if (sources.length === 0) throw new Error(EMPTY);
    const { rescale } = this.session.study;
    this.session.openReference(new Study(sources, { title: titleOf(files), rescale }));
  }
}

const titleOf = (files) => (files.length === 1 ? files[0].name : `${files.length} files`);

async function fetchSample(name) {
  const answer = await fetch(urlOf(`web/${name}`));
  if (!answer.ok) throw new Error("The sample is not on this server.");
  return new File([await answer.blob()], name.replace("sample-", ""));
}

/** Reads the noise of each series that is shown, in its middle, once all of it is known. */
function followNoise(session) {
  let asked = null;
  session.addEventListener("change", async ({ names }) => {
    const { study } = session;
    const key = study?.complete() ? study.shown() : null;
    if (names.has("retry")) asked = null;
    if (!key || study.noise || (asked?.study === study && asked.key === key)) return;
    asked = { study, key };
    await guarded(() => readNoise(session, study, key));
  });
}

async function readNoise(session, study, key) {
  const { source } = study.slices[Math.floor(study.slices.length / 2)];
  const { about } = await look({ blob: await source.blob(), rescale: study.rescale }, { noise: true });
  if (session.study !== study || study.shown() !== key) return;
  Object.assign(study, { noise: about.noise, auto: about.auto });
  // no chosen model takes this unit: what auto takes is better than nothing
  if (about.auto.model && session.chosen().length === 0) session.set({ models: [...session.models, about.auto.model] });
  session.announce("about");
}

function dropping(opener) {
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
    if (files.length === 0) return; // text, say
    const found = entries.some((entry) => entry.isDirectory) ? Promise.all(entries.map(filesBelow)).then((all) => all.flat()) : files;
    guarded(() => (reference ? opener.openReference(found) : opener.open(found)));
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

/**
 * What is being looked at and how: the one state of the viewer. Whoever changes it calls `set`; whoever shows it listens.
 *
 *     controls, gestures --set({...})--> Session --"change"--> panes, panels
 */

import { IMAGE, Loader } from "./loading.js";
import { PRESETS, RELATIVE_WINDOW } from "./shading.js";
import { fits, partnerOf } from "./study.js";
import { FIT } from "./viewport.js";

/**
 * @typedef {{name: string, ref: string, unit: string, summary: string, state: string, outputs: string[],
 *     coverage: number | null}} Model of the store: the version that its name means; `outputs`: what it gives beside restored.
 */

/** What begins anew with each thing that is opened. */
const FRESH = {
  index: 0,
  everything: false,
  base: "degraded",
  viewport: FIT,
  /** @type {import("./planes.js").Point | null} */
  cursor: null,
  region: null,
  line: null,
};

const START = {
  ...FRESH,
  /** @type {import("./study.js").Study | null} */
  study: null,
  /** @type {Loader | null} */
  loader: null,
  /** @type {import("./study.js").Study | null} */
  reference: null,
  /** @type {Loader | null} */
  referenceLoader: null,
  /** @type {string[]} refs, in the order of the store. */
  models: [],
  strength: 1,
  /** @type {"side" | "swipe" | "difference"} */
  mode: "side",
  /** Of the swipe: what is left and right, ids of views; and where the edge is, 0 to 1. */
  left: "degraded",
  right: "",
  edge: 0.5,
  /** Ends of the colour bar of differences, in the unit. */
  differenceScale: { HU: 50, relative: 0.1 },
  spread: false,
  window: PRESETS[0],
  smooth: true,
  /** @type {"window" | "pan" | "zoom" | "region" | "line"} */
  tool: "window",
};

/** The state; its fields are those of `START`, and `store`: the models that the service has. */
export class Session extends EventTarget {
  constructor() {
    super();
    Object.assign(this, START);
    /** @type {Model[]} */
    this.store = [];
    this.defaultModel = "";
    this._windowed = [];
    this._slice = null;
  }

  /** Changes fields, and tells which. */
  set(fields) {
    const changed = Object.keys(fields).filter((name) => this[name] !== fields[name]);
    if (changed.length === 0) return;
    Object.assign(this, fields);
    if (changed.includes("index")) this._slice = this.slice();
    if (["index", "models", "everything", "spread", "store"].some((name) => changed.includes(name))) this._wake();
    this._tell(changed);
  }

  /** Tells that something of the study changed in its place. */
  announce(name) {
    this._tell([name]);
  }

  /** Opens a study in place of the one before; models stay chosen where they take its unit. */
  open(study) {
    this.loader?.close();
    this.closeReference();
    const loader = new Loader(study, () => this._wanted());
    loader.addEventListener("loaded", () => this._arrived());
    this.set({ ...FRESH, study, loader });
    this._slice = this.slice();
    this._wake();
  }

  /** Shows another series of what is open. */
  choose(key) {
    this.closeReference();
    this.study.choose(key);
    this.set(FRESH);
    this._slice = this.slice();
    this._arrived();
    this._wake();
  }

  /** Sets the truth beside what is open. */
  openReference(study) {
    this.closeReference();
    const loader = new Loader(study, () => ({ index: this._partnerIndex(), restored: [], spreads: [], everything: false }));
    loader.addEventListener("loaded", () => this._tell(["loaded"]));
    this.set({ reference: study, referenceLoader: loader });
    loader.wake();
  }

  /** Compares with another series of the reference. */
  chooseReference(key) {
    this.reference.choose(key);
    this._wake();
    this._tell(["loaded"]);
  }

  closeReference() {
    this.referenceLoader?.close();
    this.set({ reference: null, referenceLoader: null, base: "degraded" });
  }

  /** Asks again for what could not be had. */
  retry() {
    this.loader?.retry();
    this.referenceLoader?.retry();
    this._tell(["retry"]);
  }

  /** The slice that is shown, or null. */
  slice() {
    return this.study?.slices[this.index] ?? null;
  }

  /** The image as it came, with what is known of it; null before. */
  image() {
    return this.loader?.get(this.slice(), IMAGE) ?? null;
  }

  /** What a model made of it; null before. */
  restored(ref) {
    return this.loader?.get(this.slice(), { kind: "restored", ref }) ?? null;
  }

  /** The truth of the slice: its plane, or why there is none; `failed`: it may be asked for again. */
  truth() {
    const { study, reference, referenceLoader } = this;
    if (!fits(study, reference)) return { plane: null, waiting: "another size or unit" };
    const partner = partnerOf(study, this.slice(), reference);
    const complete = study.complete() && reference.complete();
    const unread = referenceLoader.unread();
    if (unread) return { plane: null, waiting: unread.message, failed: true };
    if (!partner) return { plane: null, waiting: complete ? "no slice of the reference lies here" : "reading…" };
    const plane = referenceLoader.get(partner, IMAGE)?.plane ?? null;
    const problem = referenceLoader.problem(partner, IMAGE);
    return { plane, waiting: plane ? "" : (problem?.message ?? "reading…"), failed: problem !== null };
  }

  /** Refs of the chosen models that take the unit of what is open. */
  chosen() {
    const usable = this.usable();
    return this.models.filter((ref) => usable.some((model) => model.ref === ref));
  }

  /** Chosen models that say how sure they are. */
  sure() {
    const chosen = this.chosen();
    return this.store.filter(({ ref, outputs }) => outputs.length > 0 && chosen.includes(ref));
  }

  /** Models that take the unit of what is open. */
  usable() {
    const unit = this.study?.about?.unit;
    return this.store.filter((model) => !unit || model.unit === unit);
  }

  /** How many slices all chosen models have restored. */
  done() {
    return this.loader.restored(restoredBy(this.chosen()));
  }

  _wanted() {
    const known = this.study.about !== null;
    return {
      index: this.index,
      restored: known ? restoredBy(this.chosen()) : [],
      spreads: known && this.spread ? this.sure().map(spreadOf) : [],
      everything: this.everything,
    };
  }

  _partnerIndex() {
    const { slices } = this.reference;
    const partner = this.slice() && partnerOf(this.study, this.slice(), this.reference);
    return partner ? slices.indexOf(partner) : Math.min(this.index, slices.length - 1);
  }

  _wake() {
    this.loader?.wake();
    this.referenceLoader?.wake();
  }

  _arrived() {
    const { study } = this;
    const [before, key] = this._windowed;
    if (study.about && (study !== before || study.shown() !== key)) {
      this._windowed = [study, study.shown()];
      this.set({ window: firstWindow(study.about) });
    }
    this._follow();
    this._tell(["loaded"]);
  }

  /** The slice that is looked at stays in sight while others take their places around it. */
  _follow() {
    const { slices } = this.study;
    const at = slices.findIndex(({ source, frame }) => source === this._slice?.source && frame === this._slice.frame);
    const index = at < 0 ? Math.max(0, Math.min(this.index, slices.length - 1)) : at;
    this.set({ index });
    this._slice = this.slice();
  }

  _tell(names) {
    this.dispatchEvent(Object.assign(new Event("change"), { names: new Set(names) }));
  }
}

const restoredBy = (refs) => refs.map((ref) => ({ kind: "restored", ref }));

/** What to ask of a model that says how sure it is. */
export const spreadOf = ({ ref, outputs }) => ({ kind: "spread", ref, outputs });

/** What the file recommends, or else what suits its unit. */
function firstWindow({ unit, windows }) {
  return windows[0] ?? (unit === "HU" ? PRESETS[0] : RELATIVE_WINDOW);
}

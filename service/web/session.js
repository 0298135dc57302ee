/**
 * What is being looked at and how: the one state of the viewer. Whoever changes it calls `set`; whoever shows it listens.
 *
 *     controls, gestures --set({...})--> Session --"change"--> panes, panels
 */

import { Loader } from "./loading.js";
import { RELATIVE_WINDOW, PRESETS } from "./shading.js";
import { FIT } from "./viewport.js";

/**
 * @typedef {{name: string, ref: string, unit: string, summary: string, state: string, labels: string[],
 *     spread: string[], coverage: number | null}} Model of the store: the version that its name means.
 */

const START = {
  /** @type {import("./study.js").Study | null} */
  study: null,
  /** @type {Loader | null} */
  loader: null,
  /** @type {import("./study.js").Study | null} */
  reference: null,
  /** @type {Loader | null} */
  referenceLoader: null,
  index: 0,
  /** @type {string[]} refs, in the order in which they were chosen. */
  models: [],
  strength: 1,
  everything: false,
  /** @type {"side" | "swipe" | "difference"} */
  mode: "side",
  /** Of the swipe: what is left and right, ids of panes; and where the edge is, 0 to 1. */
  left: "degraded",
  right: "",
  edge: 0.5,
  /** What a difference is taken from: the degraded image, or the reference. */
  base: "degraded",
  differenceScale: 0,
  spread: false,
  window: { center: 40, width: 400 },
  viewport: FIT,
  smooth: true,
  /** @type {"window" | "pan" | "zoom" | "region" | "line"} */
  tool: "window",
  /** @type {import("./planes.js").Point | null} */
  cursor: null,
  region: null,
  line: null,
};

/** The state; its fields are those of `START`, and `store`: the models that the service has. */
export class Session extends EventTarget {
  constructor() {
    super();
    Object.assign(this, START);
    /** @type {Model[]} */
    this.store = [];
    this.defaultModel = "";
  }

  /** Changes fields, and tells which. */
  set(fields) {
    const changed = Object.keys(fields).filter((name) => this[name] !== fields[name]);
    if (changed.length === 0) return;
    Object.assign(this, fields);
    if (changed.some((name) => ["index", "models", "everything"].includes(name))) this.loader?.wake();
    if (changed.includes("index")) this.referenceLoader?.wake();
    this._tell(changed);
  }

  /** Opens a study in place of the one before; models stay chosen where they take its unit. */
  open(study) {
    this.loader?.close();
    this.closeReference();
    const loader = new Loader(study, () => this._wanted());
    loader.addEventListener("loaded", () => this._arrived());
    const { index, region, line, cursor, viewport, everything } = START;
    this.set({ study, loader, index, region, line, cursor, viewport, everything, base: "degraded" });
    loader.wake();
  }

  /** Sets the truth beside what is open. */
  openReference(study) {
    this.closeReference();
    const loader = new Loader(study, () => ({ index: this.index, models: [], everything: false }));
    loader.addEventListener("loaded", () => this._tell(["loaded"]));
    this.set({ reference: study, referenceLoader: loader });
    loader.wake();
  }

  /** Shows another series of what is open. */
  choose(key) {
    this.closeReference();
    this.study.choose(key);
    this.set({ index: 0, region: null, line: null, cursor: null, viewport: FIT });
    this._arrived();
    this.loader.wake();
  }

  closeReference() {
    this.referenceLoader?.close();
    this.set({ reference: null, referenceLoader: null, base: "degraded" });
  }

  /** Tells that something of the study changed in its place. */
  announce(name) {
    this._tell([name]);
  }

  /** The slice that is shown, or null. */
  slice() {
    return this.study?.slices[this.index] ?? null;
  }

  /** The image as it came, with what is known of it; null before. */
  image() {
    return this.loader?.get(this.slice(), null) ?? null;
  }

  /** What a model made of it; null before. */
  restored(ref) {
    return this.loader?.get(this.slice(), ref) ?? null;
  }

  /** The truth of the slice, or null. */
  truth() {
    const found = this.referenceLoader?.get(this.reference.slices[this.index], null);
    return found ? found.plane : null;
  }

  /** Refs of the chosen models that take the unit of what is open. */
  chosen() {
    const usable = this.usable();
    return this.models.filter((ref) => usable.some((model) => model.ref === ref));
  }

  /** Models that take the unit of what is open. */
  usable() {
    const unit = this.study?.about?.unit;
    return this.store.filter((model) => !unit || model.unit === unit);
  }

  _wanted() {
    const models = this.study.about ? this.chosen() : [];
    return { index: Math.min(this.index, this.study.slices.length - 1), models, everything: this.everything };
  }

  _arrived() {
    const { study } = this;
    if (study.about && study.about !== this._windowed) {
      this._windowed = study.about;
      this.set({ window: firstWindow(study.about) });
    }
    const last = Math.max(0, study.slices.length - 1);
    if (this.index > last) this.set({ index: last });
    this._tell(["loaded"]);
  }

  _tell(names) {
    this.dispatchEvent(Object.assign(new Event("change"), { names: new Set(names) }));
  }
}

/** What the file recommends, or else what suits its unit. */
export function firstWindow({ unit, windows }) {
  return windows?.[0] ?? (unit === "HU" ? PRESETS[0] : RELATIVE_WINDOW);
}

/**
 * Pixels in memory, fetched in the order in which they are likely to be looked at.
 *
 *     plan (nearest first, as far as memory goes) --a few at once--> Loader --"loaded"--> the viewer draws again
 *         the file itself is refused: its source is left out      anything else: kept as a problem until `retry`
 *
 * What is planned stays in memory, and what is not, goes. Of files beyond it only what they are is kept.
 */

import { Problem, Unreachable } from "../api.js";
import { look, restore, spread } from "./asks.js";
import { bytesOf, compact } from "./planes.js";

const AT_ONCE = 4;
const RESTORE_AHEAD = 6;
const MEGABYTE = 2 ** 20;

/** Bytes for pixels; browsers tell how much memory there is on secure origins only. */
const BUDGET = (navigator.deviceMemory ?? 4) < 8 ? 768 * MEGABYTE : 1536 * MEGABYTE;

/** Statuses by which the service says that a file is at fault, and not the moment. */
const OF_THE_FILE = [400, 413, 415, 422];

/** Statuses after which nothing else will be answered either; `null` is no answer at all. */
const OF_THE_SERVICE = [null, 401, 403, 429, 503];
const OF_THE_MOMENT = [429, 503];
const RESUME_MS = 5000;

/**
 * @typedef {{kind: "image"} | {kind: "restored", ref: string} | {kind: "spread", ref: string, outputs: string[]}} What
 */

/** @type {What} */
export const IMAGE = Object.freeze({ kind: "image" });

/**
 * What to have, the most urgent first.
 * @param {number} count of slices.
 * @param {number} index of the slice that is shown.
 * @param {{restored: What[], spreads: What[], everything: boolean}} wanted `everything`: restore also what is far away.
 * @returns {Generator<{index: number, what: What}>}
 */
function* plan(count, index, { restored, spreads, everything }) {
  const near = [...outward(count, index)];
  for (const what of [IMAGE, ...restored, ...spreads]) yield { index, what };
  for (const other of near.slice(1, 1 + RESTORE_AHEAD)) for (const what of [IMAGE, ...restored]) yield { index: other, what };
  for (const other of near.slice(1 + RESTORE_AHEAD)) yield { index: other, what: IMAGE };
  if (everything) for (const other of near) for (const what of restored) yield { index: other, what };
}

function* outward(count, index) {
  yield index;
  for (let step = 1; step < count; step++) {
    if (index + step < count) yield index + step;
    if (index - step >= 0) yield index - step;
  }
}

/** Has, or fetches, the pixels of one study. Dispatches `loaded` after each file. */
export class Loader extends EventTarget {
  /**
   * @param {import("./study.js").Study} study
   * @param {() => {index: number, restored: What[], spreads: What[], everything: boolean}} wanted asked before each request.
   */
  constructor(study, wanted) {
    super();
    this.study = study;
    /** Why nothing is asked at present, or null. */
    this.paused = null;
    this._wanted = wanted;
    this._found = new Map();
    this._problems = new Map();
    this._busy = new Set();
    this._abort = new AbortController();
    this._bytes = 0;
  }

  /** What there is of a slice, with its `plane`; null while it is not there. */
  get(slice, what) {
    const found = slice && this._found.get(keyOf(slice, what));
    return found ? { ...found, plane: found.planes[slice.frame] } : null;
  }

  /** Why it cannot be had, or null. */
  problem(slice, what) {
    return (slice && (this._problems.get(keyOf(slice, what)) ?? slice.source.failed)) || null;
  }

  /** Files that could not be read, though nothing is known to be wrong with them: the reason of one, or null. */
  unread() {
    const { slices } = this.study;
    const found = slices.find((slice) => !slice.source.about && this._problems.has(keyOf(slice, IMAGE)));
    return this.paused ?? (found ? this._problems.get(keyOf(found, IMAGE)) : null);
  }

  /** How many slices are restored by all of these. */
  restored(all) {
    return this.study.slices.filter((slice) => all.every((what) => this._found.has(keyOf(slice, what)))).length;
  }

  /** Asks again for what could not be had. */
  retry() {
    this.paused = null;
    this._problems.clear();
    this.dispatchEvent(new Event("loaded"));
    this.wake();
  }

  /** Fetches what is wanted now. */
  wake() {
    while (this._busy.size < AT_ONCE && !this.paused && !this._abort.signal.aborted) {
      const next = this._next();
      if (!next) return;
      this._fetch(next);
    }
  }

  /** Ends all requests, and forgets all pixels. */
  close() {
    this._abort.abort();
    this._found.clear();
  }

  _next() {
    const { slices } = this.study;
    if (slices.length === 0) return null;
    const wanted = this._wanted();
    const kept = new Set();
    let next = null;
    let bytes = 0;
    for (const { index, what } of plan(slices.length, wanted.index, wanted)) {
      const slice = slices[index];
      const key = keyOf(slice, what);
      if (kept.has(key)) continue;
      const there = this._found.get(key);
      const size = there ? there.bytes : this._typical();
      const keep = index === wanted.index || bytes + size <= BUDGET; // what is on the screen, in any case
      if (keep) {
        bytes += size;
        kept.add(key);
      }
      const useful = keep ? !there : what === IMAGE && !slice.source.about;
      if (useful && this._possible(slice, what) && !this._busy.has(key) && !this._problems.has(key)) next ??= { slice, what, key, keep };
    }
    this._forget(kept);
    return next;
  }

  _possible(slice, what) {
    return what.kind !== "spread" || this._found.has(keyOf(slice, IMAGE));
  }

  _typical() {
    const { about } = this.study;
    return about ? 4 * about.rows * about.columns * about.frames : 0;
  }

  _forget(kept) {
    if (this._bytes <= BUDGET) return;
    for (const [key, { bytes }] of this._found) {
      if (kept.has(key)) continue;
      this._found.delete(key);
      this._bytes -= bytes;
    }
  }

  async _fetch({ slice, what, key, keep }) {
    this._busy.add(key);
    try {
      const found = await this._ask(slice, what);
      if (this._abort.signal.aborted) return;
      if (keep) this._keep(key, found);
      if (what === IMAGE) this.study.seen(slice.source, found.about);
    } catch (error) {
      if (this._abort.signal.aborted) return;
      this._missed(slice, what, key, error);
    } finally {
      this._busy.delete(key);
    }
    this.dispatchEvent(new Event("loaded"));
    this.wake();
  }

  async _ask(slice, what) {
    const { signal } = this._abort;
    if (what.kind === "spread") {
      const planes = [];
      planes[slice.frame] = await spread(this.get(slice, IMAGE).plane, this.study.about.unit, what, signal);
      return { planes };
    }
    const image = { blob: await slice.source.blob(), rescale: this.study.rescale };
    return what === IMAGE ? look(image, { noise: false, signal }) : restore(image, what.ref, signal);
  }

  _keep(key, found) {
    found.planes = found.planes.map(compact);
    found.bytes = found.planes.reduce((sum, plane) => sum + bytesOf(plane), 0);
    this._found.set(key, found);
    this._bytes += found.bytes;
  }

  _missed(slice, what, key, error) {
    // what is no answer of the service was found wrong with the file here: an archive that is damaged, say
    const status = error instanceof Problem ? error.status : error instanceof Unreachable ? null : OF_THE_FILE[0];
    if (what === IMAGE && OF_THE_FILE.includes(status)) {
      this.study.failed(slice.source, error);
      return;
    }
    this._problems.set(key, error);
    if (!OF_THE_SERVICE.includes(status)) return;
    this.paused = error;
    if (OF_THE_MOMENT.includes(status)) setTimeout(() => this._abort.signal.aborted || this.retry(), RESUME_MS);
  }
}

const ids = new WeakMap();
let lastId = 0;

/** Files are restored whole, and how sure a model is of a slice is asked for that slice. */
function keyOf({ source, frame }, { kind, ref = "" }) {
  if (!ids.has(source)) ids.set(source, ++lastId);
  return [ids.get(source), kind, ref, ...(kind === "spread" ? [frame] : [])].join(" ");
}

/**
 * Pixels in memory, fetched in the order in which they are likely to be looked at.
 *
 *     plan (nearest first, as far as memory goes) --a few at once--> Loader --"loaded"--> the viewer draws again
 *
 * What is planned stays in memory, and what is not, goes. A request that failed is not repeated until it is asked for.
 */

import { look, restore } from "./asks.js";
import { bytesOf, compact } from "./planes.js";

const AT_ONCE = 4;
const RESTORE_AHEAD = 6;
const MEGABYTE = 2 ** 20;

/** Bytes for pixels: half a gigabyte where the browser says that the machine has little memory. */
const BUDGET = (navigator.deviceMemory ?? 8) < 8 ? 512 * MEGABYTE : 1536 * MEGABYTE;

/**
 * What to have, the most urgent first.
 * @param {number} count of slices.
 * @param {number} index of the slice that is shown.
 * @param {{models: string[], everything: boolean}} wanted `everything`: restore also what is far away.
 * @returns {Generator<{index: number, model: string | null}>} `model` null: the image itself.
 */
export function* plan(count, index, { models, everything }) {
  const near = [...outward(count, index)];
  yield { index, model: null };
  for (const model of models) yield { index, model };
  for (const other of near.slice(1, 1 + RESTORE_AHEAD)) {
    yield { index: other, model: null };
    for (const model of models) yield { index: other, model };
  }
  for (const other of near.slice(1)) yield { index: other, model: null };
  if (everything) for (const other of near) for (const model of models) yield { index: other, model };
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
   * @param {() => {index: number, models: string[], everything: boolean}} wanted asked before each request.
   */
  constructor(study, wanted) {
    super();
    this.study = study;
    this._wanted = wanted;
    this._found = new Map();
    this._problems = new Map();
    this._busy = new Set();
    this._abort = new AbortController();
    this._bytes = 0;
  }

  /** What there is of a slice: the image (`model` null) or what a model made of it; null while it is not there. */
  get(slice, model) {
    const found = slice && this._found.get(keyOf(slice.source, model));
    return found ? { ...found, plane: found.planes[slice.frame] } : null;
  }

  /** Why it cannot be had, or null. */
  problem(slice, model) {
    return (slice && this._problems.get(keyOf(slice.source, model))) ?? null;
  }

  /** How many slices are restored by all of some models. */
  restored(models) {
    return this.study.slices.filter((slice) => models.every((model) => this._found.has(keyOf(slice.source, model)))).length;
  }

  /** Forgets what failed, so that it is tried again. */
  retry() {
    this._problems.clear();
    this.wake();
  }

  /** Fetches what is wanted now. */
  wake() {
    while (this._busy.size < AT_ONCE && !this._abort.signal.aborted) {
      const next = this._next();
      if (!next) return;
      this._fetch(next);
    }
  }

  /** Ends all requests. */
  close() {
    this._abort.abort();
    this._found.clear();
  }

  _next() {
    const { slices } = this.study;
    if (slices.length === 0) return null;
    const { index, ...wanted } = this._wanted();
    const kept = new Set();
    let next = null;
    let bytes = 0;
    for (const { index: at, model } of plan(slices.length, index, wanted)) {
      const { source } = slices[at];
      const key = keyOf(source, model);
      if (kept.has(key)) continue;
      const there = this._found.get(key);
      bytes += there ? there.bytes : this._typical();
      if (bytes > BUDGET && kept.size > 0) break;
      kept.add(key);
      if (!there && !this._busy.has(key) && !this._problems.has(key)) next ??= { source, model, key };
    }
    this._forget(kept);
    return next;
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

  async _fetch({ source, model, key }) {
    this._busy.add(key);
    const { signal } = this._abort;
    try {
      const image = { blob: await source.blob(), rescale: this.study.rescale };
      const found = model === null ? await look(image, { noise: false, signal }) : await restore(image, model, signal);
      if (signal.aborted) return;
      found.planes = found.planes.map(compact);
      found.bytes = found.planes.reduce((sum, plane) => sum + bytesOf(plane), 0);
      this._found.set(key, found);
      this._bytes += found.bytes;
      if (model === null) this.study.seen(source, found.about);
    } catch (error) {
      if (signal.aborted) return;
      this._problems.set(key, error);
      if (model === null) this.study.failed(source, error.message);
    } finally {
      this._busy.delete(key);
    }
    this.dispatchEvent(new Event("loaded"));
    this.wake();
  }
}

const ids = new WeakMap();
let lastId = 0;

function keyOf(source, model) {
  if (!ids.has(source)) ids.set(source, ++lastId);
  return `${ids.get(source)} ${model ?? ""}`;
}

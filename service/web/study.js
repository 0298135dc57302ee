/**
 * What was opened: sources, and the slices in them, in the order of the patient.
 *
 *     files, archive --sourcesOf--> sources --look (as they come)--> slices, sorted by place
 *
 * A source is one file: a DICOM instance, a picture, a stack. A slice is one image in it.
 */

import { entriesOf, tarOf } from "./archive.js";

const HIDDEN = /(^|\/)(\.|__MACOSX\/|DICOMDIR$)/;
const NATURAL = new Intl.Collator("en", { numeric: true });

/**
 * @typedef {{name: string, blob: () => Promise<Blob>, about: any, failed: string}} Source `about`: what the service said
 *     of it, null before; `failed`: why it cannot be looked at, or "".
 * @typedef {{source: Source, frame: number}} Slice
 */

/**
 * The sources of what a user chose.
 * @param {File[]} files
 * @returns {Promise<Source[]>} in the natural order of their names.
 * @throws {Error} of an archive, what is wrong with it.
 */
export async function sourcesOf(files) {
  const found = [];
  for (const file of files) {
    const entries = await entriesOf(file);
    for (const entry of entries ?? [{ name: file.webkitRelativePath || file.name, blob: async () => file }]) {
      if (!HIDDEN.test(entry.name)) found.push({ name: entry.name, blob: once(entry.blob), about: null, failed: "" });
    }
  }
  return found.sort((a, b) => NATURAL.compare(a.name, b.name));
}

/** What was opened, and the slices of it that are shown: of one series, and of one size and unit. */
export class Study {
  /**
   * @param {Source[]} sources at least one.
   * @param {{title: string, archive?: File | null, rescale?: [number, number] | null}} origin `archive`: the one file
   *     that all came in; `rescale`: slope and intercept for files that state no unit.
   */
  constructor(sources, { title, archive = null, rescale = null }) {
    this.sources = sources;
    this.title = title;
    this.archive = archive;
    this.rescale = rescale;
    /** What the service said of the first file of the series that is shown: unit, size, windows; null before. */
    this.about = null;
    /** Noise, and what auto chooses, once asked. */
    this.noise = null;
    this.auto = null;
    /** @type {Slice[]} */
    this.slices = sources.map((source) => ({ source, frame: 0 }));
  }

  /** Takes in what the service said of a source. */
  seen(source, about) {
    source.about = about;
    this.about ??= about;
    this._order();
  }

  /** Takes a source out that cannot be looked at. */
  failed(source, why) {
    source.failed = why;
    this._order();
  }

  /** The series that are known by now: {key, about, count}, in the order in which they came. */
  series() {
    const found = new Map();
    for (const { about } of this.sources) {
      if (!about) continue;
      const key = keyOf(about);
      const there = found.get(key) ?? { key, about, count: 0 };
      there.count += about.frames;
      found.set(key, there);
    }
    return [...found.values()];
  }

  /** Shows another of the series. */
  choose(key) {
    this.about = this.series().find((each) => each.key === key).about;
    this.noise = this.auto = null;
    this._order();
  }

  /** Sources that are not shown, with the reason. */
  leftOut() {
    return this.sources.filter((source) => source.failed);
  }

  /** Whether all sources were looked at. */
  complete() {
    return this.sources.every((source) => source.about || source.failed);
  }

  /** One file for a job: the archive that came, where it holds one series; else a tar of the instances that are shown. */
  async forJob() {
    if (this.archive && this.series().length === 1) return this.archive;
    const sources = [...new Set(this.slices.map(({ source }) => source))];
    const files = await Promise.all(sources.map(async (source) => ({ blob: await source.blob() })));
    return files.length === 1 ? files[0].blob : tarOf(files);
  }

  /** Slices by where they lie: along the normal of the plane, else by number, else by name; while some are unread, by name. */
  _order() {
    const key = this.about && keyOf(this.about);
    const usable = this.sources.filter(({ about, failed }) => !failed && (!about || keyOf(about) === key));
    const placed = usable.every(({ about }) => about) ? usable.sort(byPlace) : usable;
    this.slices = placed.flatMap((source) =>
      Array.from({ length: source.about?.frames ?? 1 }, (_, frame) => ({ source, frame })),
    );
  }
}

function byPlace({ about: a, name: left }, { about: b, name: right }) {
  for (const place of ["position", "instance_number"]) {
    const [one, other] = [a.instance?.[place], b.instance?.[place]];
    if (one != null && other != null && one !== other) return one - other;
  }
  return NATURAL.compare(left, right);
}

/** Equal for what may be shown as one series. */
const keyOf = ({ unit, rows, columns, instance }) => [unit, rows, columns, instance?.series_instance_uid ?? ""].join(" ");

function once(work) {
  let found = null;
  return () => (found ??= work());
}

/**
 * What was opened: sources, and the slices of one series in them, in the order of the patient.
 *
 *     files, archive --sourcesOf--> sources --seen, failed (as they are looked at)--> series; slices of the shown one
 *     slice --partnerOf--> the slice of another study (the reference) that lies at the same place
 *
 * A source is one file: a DICOM instance, a picture, a stack. A slice is one image in it.
 */

import { entriesOf, tarOf } from "../files/archive.js";

const HIDDEN = /(^|\/)(\.|__MACOSX\/|DICOMDIR$)/;
const NATURAL = new Intl.Collator("en", { numeric: true });
const SAME_PLACE_MM = 0.01;

/**
 * @typedef {{name: string, blob: () => Promise<Blob>, about: any, failed: Error | null}} Source `about`: what the
 *     service said of it, null before; `failed`: why it cannot be looked at.
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
      if (!HIDDEN.test(entry.name)) found.push({ name: entry.name, blob: entry.blob, about: null, failed: null });
    }
  }
  return found.sort((a, b) => NATURAL.compare(a.name, b.name));
}

/** What was opened, and the slices of it that are shown: of one series, size, unit and orientation. */
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
    /** What the service said of a file of the series that is shown: unit, size, windows; null before. */
    this.about = null;
    /** Noise, and what auto chooses, once asked. */
    this.noise = null;
    this.auto = null;
    /** @type {Slice[]} */
    this.slices = sources.map((source) => ({ source, frame: 0 }));
    this._chosen = false;
  }

  /** The same files, to be read in another unit. */
  again(rescale) {
    const sources = this.sources.map((source) => ({ ...source, about: null, failed: null }));
    return new Study(sources, { title: this.title, archive: this.archive, rescale });
  }

  /** Takes in what the service said of a source. Until the user chooses, DICOM is shown before pictures, else what is first by name. */
  seen(source, about) {
    source.about = about;
    if (!this._chosen) {
      const known = this.sources.filter((each) => each.about);
      const first = (known.find((each) => each.about.format === "dicom") ?? known[0]).about;
      if (!this.about || keyOf(first) !== this.shown()) this.about = first;
    }
    this._order();
  }

  /** Takes a source out that cannot be looked at. */
  failed(source, error) {
    source.failed = error;
    this._order();
  }

  /** The series that are known by now: {key, about, slices: how many, from, to: the ends in mm or null}. */
  series() {
    const found = new Map();
    for (const { about } of this.sources) {
      if (!about) continue;
      const key = keyOf(about);
      const there = found.get(key) ?? { key, about, slices: 0, places: [] };
      there.slices += about.frames;
      there.places.push(...(about.instance?.positions ?? []).filter((place) => place !== null));
      found.set(key, there);
    }
    return [...found.values()].map(({ places, ...each }) => ({
      ...each,
      from: places.length ? places.reduce((a, b) => Math.min(a, b)) : null,
      to: places.length ? places.reduce((a, b) => Math.max(a, b)) : null,
    }));
  }

  /** Shows another of the series. */
  choose(key) {
    this._chosen = true;
    this.about = this.series().find((each) => each.key === key).about;
    this.noise = this.auto = null;
    this._order();
  }

  /** The key of the series that is shown. */
  shown() {
    return this.about && keyOf(this.about);
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

  /** Slices by where they lie along the normal of their plane, else by number, else by name; while some are unread, by name. */
  _order() {
    const key = this.shown();
    const usable = this.sources.filter(({ about, failed }) => !failed && (!about || keyOf(about) === key));
    const slices = usable.flatMap((source) =>
      Array.from({ length: source.about?.frames ?? 1 }, (_, frame) => ({ source, frame })),
    );
    const known = slices.every(({ source }) => source.about);
    const by = known && [positionOf, numberOf].find((place) => slices.every((slice) => place(slice) !== null));
    const place = (slice) => (by ? by(slice) : 0);
    this.slices = slices.sort((a, b) => place(a) - place(b) || NATURAL.compare(a.source.name, b.source.name) || a.frame - b.frame);
  }
}

/** Where a slice lies along the normal of its plane, in mm, or null. */
export const positionOf = ({ source, frame }) => source.about?.instance?.positions[frame] ?? null;

const numberOf = ({ source }) => source.about?.instance?.instance_number ?? null;

/**
 * The slice of `other` that shows the same place as a slice of `study`: at the same position, where both state
 * positions; else the one with the same number, where both have as many. Of one slice each, the other.
 * @returns {Slice | null} null where there is none, or while one of them is still being read.
 */
export function partnerOf(study, slice, other) {
  if (!study.complete() || !other.complete() || !fits(study, other)) return null;
  const single = study.slices.length === 1 && other.slices.length === 1;
  const stated = (each) => positionOf(each) !== null;
  if (single || !stated(slice) || !other.slices.every(stated)) {
    return study.slices.length === other.slices.length ? other.slices[study.slices.indexOf(slice)] : null;
  }
  // several phases may lie at one place, as many of both
  const here = (each) => Math.abs(positionOf(each) - positionOf(slice)) < SAME_PLACE_MM;
  const [own, others] = [study.slices.filter(here), other.slices.filter(here)];
  return own.length === others.length ? others[own.indexOf(slice)] : null;
}

/** Whether images of both can be compared pixel by pixel; true while one of them is not known yet. */
export const fits = ({ about: a }, { about: b }) =>
  !a || !b || (a.rows === b.rows && a.columns === b.columns && a.unit === b.unit);

/** Equal for what may be shown as one series. */
const keyOf = ({ unit, rows, columns, spacing, instance }) =>
  [unit, rows, columns, rounded(spacing, 4), instance?.series_instance_uid, rounded(instance?.orientation, 3)].join(" ");

/** Without the sign of a zero. */
const rounded = (numbers, digits) => (numbers ?? []).map((number) => Number(number.toFixed(digits)) + 0).join();

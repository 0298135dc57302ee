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

/** What was opened, and the slices that are known by now. */
export class Study {
  /**
   * @param {Source[]} sources at least one.
   * @param {{title: string, archive: File | null}} origin `archive`: the one file that all came in.
   */
  constructor(sources, { title, archive = null }) {
    this.sources = sources;
    this.title = title;
    this.archive = archive;
    /** [slope, intercept] of files that state no unit, or null. */
    this.rescale = null;
    /** What the service said of the first file: unit, size, windows; null before. */
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
    if (!alike(about, this.about)) source.failed = `is of another series, size or unit than ${this.named().name}`;
    this.order();
  }

  /** Takes a source out that cannot be looked at. */
  failed(source, why) {
    source.failed = why;
    this.order();
  }

  /** Slices by where they lie: along the normal of the plane, else by number, else by name; not yet seen ones by name. */
  order() {
    const usable = this.sources.filter((source) => !source.failed);
    const placed = usable.every((source) => source.about) ? [...usable].sort(byPlace) : usable;
    this.slices = placed.flatMap((source) =>
      Array.from({ length: source.about?.frames ?? 1 }, (_, frame) => ({ source, frame })),
    );
  }

  /** Sources that are not shown, with the reason. */
  leftOut() {
    return this.sources.filter((source) => source.failed);
  }

  /** Whether all sources were looked at. */
  complete() {
    return this.sources.every((source) => source.about || source.failed);
  }

  /** One file for a job: the archive that came, or a tar of all instances; null where it is no DICOM series. */
  async forJob() {
    if (this.about?.format !== "dicom") return null;
    if (this.archive) return this.archive;
    const files = await Promise.all(this.slices.filter(({ frame }) => frame === 0).map(async ({ source }) => ({ blob: await source.blob() })));
    return files.length === 1 ? files[0].blob : tarOf(files);
  }

  named() {
    return this.sources.find((source) => source.about === this.about) ?? this.sources[0];
  }
}

function byPlace({ about: a, name: left }, { about: b, name: right }) {
  for (const place of ["position", "instance_number"]) {
    const [one, other] = [a.instance?.[place], b.instance?.[place]];
    if (one != null && other != null && one !== other) return one - other;
  }
  return NATURAL.compare(left, right);
}

const alike = (a, b) =>
  a.unit === b.unit &&
  a.rows === b.rows &&
  a.columns === b.columns &&
  a.instance?.series_instance_uid === b.instance?.series_instance_uid;

function once(work) {
  let found = null;
  return () => (found ??= work());
}

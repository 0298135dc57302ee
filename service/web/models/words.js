/**
 * What a manifest says, in words; pure.
 *
 *     manifest --creditsOf, guardWords, factsOf--> rows and sentences
 */

/** How a measure of the guard reads, and which of its bounds nature already holds (`imaging/guard.py`). */
const MEASURES = {
  shift: { words: "mean change of the body", unit: true },
  drift: { words: "largest change of the mean of a small block", unit: true, least: 0 },
  level: { words: "what was removed, as a share of the noise in flat blocks", least: 0 },
  structure: { words: "how far what was removed follows edges, −1 to 1", least: -1, most: 1 },
  tissue: { words: "share of the body that is fat or soft tissue", least: 0, most: 1 },
};

const count = new Intl.NumberFormat("en");

/** A whole number with its thousands marked. */
export const counted = (number) => count.format(number);

/**
 * What was trained on, by collection and licence.
 * @param {{series: string, patient: string, slices: number, collection: string, licence: string}[]} data
 * @returns {{collection: string, licence: string, patients: number, series: number, slices: number}[]}
 */
export function creditsOf(data) {
  const found = new Map();
  for (const { patient, slices, collection, licence } of data) {
    const key = JSON.stringify([collection, licence]);
    const row = found.get(key) ?? { collection, licence, who: new Set(), series: 0, slices: 0 };
    row.who.add(patient);
    row.series += 1;
    row.slices += slices;
    found.set(key, row);
  }
  return [...found.values()].map(({ who, ...row }) => ({ ...row, patients: who.size }));
}

/** Beyond what an answer carries a warning: a line for each measure. */
export function guardWords({ bounds }, unit) {
  return Object.entries(bounds).map(([name, [low, high]]) => {
    const { words = "", unit: inUnit, least = -Infinity, most = Infinity } = MEASURES[name] ?? {};
    const ends = [low > least && `at least ${short(low)}`, high < most && `at most ${short(high)}`].filter(Boolean);
    const range = ends.length ? ends.join(" and ") : "anything";
    return { name, words, range: inUnit && unit === "HU" && ends.length ? `${range} HU` : range };
  });
}

/** Three significant digits, with a proper minus. */
export function short(number) {
  return String(Number(number.toPrecision(3))).replace("-", "−");
}

/** What else is to be known of a version: [name, text] pairs. */
export function factsOf(manifest, weights) {
  const outputs = [...new Set(Object.values(manifest.signatures).flatMap((signature) => signature.outputs))];
  const precisions = [...new Set(Object.values(manifest.signatures).map((signature) => signature.compute_dtype))];
  const { created, clearslice, source_revision: revision, framework, device, seed } = manifest.provenance;
  return [
    ["Takes and gives", manifest.unit === "HU" ? "HU" : "relative, 0 to 1"],
    ["Sizes", `any, best in multiples of ${manifest.size_multiple} pixels`],
    ["Outputs", outputs.join(", ")],
    ["Precisions", precisions.join(", ")],
    ["Recipe", [manifest.recipe, settingsWords(manifest.recipe_settings)].filter(Boolean).join(", ")],
    ["Parameters", counted(manifest.parameters)],
    ["Receptive field", `${manifest.receptive_field} pixels`],
    ["Made", `${created.slice(0, 10)} by clearslice ${clearslice}, ${revision}, on ${device}, seed ${seed}`],
    ["With", Object.entries(framework).map((pair) => pair.join(" ")).join(", ")],
    ["Weights, SHA-256", weights],
  ];
}

/** "coverage 0.9, weight 2"; of a nested setting, its JSON. */
export function settingsWords(settings) {
  const words = (value) => (typeof value === "object" ? JSON.stringify(value) : value);
  return Object.entries(settings).map(([name, value]) => `${name} ${words(value)}`).join(", ");
}

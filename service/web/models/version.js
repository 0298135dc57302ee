/**
 * One version of a model: what it says of itself, how it scored, and its card.
 *
 *     GET v1/models/{name}/versions/{version} --> versionPage: facts, scores, data, intervals, guard
 *     GET .../card, once it is opened --markdown--> the card
 */

import { call } from "../api.js";
import { choice } from "../parts/choice.js";
import { fill, h } from "../dom.js";
import { markdown } from "../parts/markdown.js";
import { pathOf } from "./state.js";
import { counted, creditsOf, factsOf, guardWords, settingsWords, short } from "./words.js";
import { refusal } from "../parts/refusal.js";
import { legend, scoreTable } from "./score-table.js";
import { caveats, choices, chosen, contractTitle, metricOf } from "./scores.js";
import { sortableTable } from "../parts/table.js";

/** All of a version below its heading. @param {Object} found what the service answers of it. */
export function versionPage({ manifest, weights_sha256: weights }) {
  return [
    h("p", {}, manifest.summary),
    h("p", { class: "note" }, h("b", {}, "Intended use. "), manifest.intended_use),
    part("Scores", scores(manifest.scores)),
    manifest.intervals && part("Intervals", intervals(manifest.intervals, manifest.unit)),
    manifest.guard && part("Guard", guard(manifest.guard, manifest.unit)),
    part("Trained on", trainedOn(manifest)),
    part("Facts", facts(factsOf(manifest, weights))),
    card(manifest.name, manifest.version),
  ];
}

const part = (title, ...content) => h("section", { class: "card part" }, h("h3", {}, title), content);

function scores(all) {
  if (!all.length) return h("p", { class: "soft" }, "None: it was published without.");
  const { metrics, contracts } = choices(all);
  const place = h("div");
  const draw = () => {
    const rows = chosen(all, metric.value(), contracts[Number(contract.value())]).map((score) => ({ score }));
    if (!rows.length) return fill(place, h("p", { class: "soft" }, "Nothing was measured so."));
    const first = { title: "Degradation", value: ({ score }) => score.degradation };
    const notes = caveats(rows.slice(0, 1).map(({ score }) => score));
    return fill(place, scoreTable(rows, first, { label: "Scores" }), legend(rows[0].score),
      h("p", { class: "soft" }, notes.join(" "), " It is no interval of the gain: degraded and restored are of the same images."));
  };
  const metric = choice("Metric", draw);
  const contract = choice("Contract", draw);
  metric.offer(metrics.map((id) => ({ value: id, text: metricOf(id).name })));
  contract.offer(contracts.map((each, index) => ({ value: String(index), text: contractTitle(each) })));
  draw();
  return [h("p", { class: "row" }, metric.element, contract.element), place];
}

function intervals({ coverage, classes, degradations, patients }, unit) {
  const end = unit === "HU" ? " HU" : "";
  const columns = [
    { title: "Tissue", value: (row) => row.tissue, head: true },
    number("Restored below", (row) => row.below, (below) => (below == null ? "no end" : short(below) + end)),
    number("Lower end ×", (row) => row.lower, (factor) => factor.toFixed(3)),
    number("Upper end ×", (row) => row.upper, (factor) => factor.toFixed(3)),
    number("Pixels", (row) => row.pixels, counted),
  ];
  return [
    h("p", {}, `Every pixel gets an interval that is to hold ${short(100 * coverage)} % of the references. So that it does, `,
      "the distances from restored to its ends are multiplied, by the class of the pixel, as ",
      `${plural(patients, "patient")} showed that were not fitted. It is no guarantee for images unlike these.`),
    sortableTable({ columns, rows: classes, label: "Calibration of the intervals" }),
    degraded(degradations),
  ];
}

function guard(bounds, unit) {
  const columns = [
    { title: "Measure", value: (row) => row.name, head: true },
    { title: "What it is", value: (row) => row.words },
    { title: "As usual", value: (row) => row.range },
  ];
  return [
    h("p", {}, "An answer beyond these carries a warning. They come from ", plural(bounds.images, "image"), " of ",
      plural(bounds.patients, "patient"), " that were not fitted, with a margin."),
    sortableTable({ columns, rows: guardWords(bounds, unit), label: "Bounds of the guard" }),
    degraded(bounds.degradations),
  ];
}

const degraded = (degradations) => h("p", { class: "soft" }, "Degraded by: ", degradations.join("; "), ".");

function trainedOn({ training_data: data, training_settings: settings }) {
  const rows = creditsOf(data);
  const columns = [
    { title: "Collection", value: (row) => row.collection, head: true },
    { title: "Licence", value: (row) => row.licence },
    number("Patients", (row) => row.patients, counted),
    number("Series", (row) => row.series, counted),
    number("Slices", (row) => row.slices, counted),
  ];
  const total = rows.reduce((sum, row) => sum + row.slices, 0);
  return [
    rows.length
      ? sortableTable({ columns, rows, sorted: { column: 4, descending: true }, label: "Data" })
      : h("p", { class: "soft" }, "It does not say."),
    rows.length > 1 && h("p", { class: "soft" }, `${counted(total)} slices in all.`),
    h("details", {}, h("summary", {}, "Settings of the training"), facts(Object.entries(settings).map(([name, value]) =>
      [name, typeof value === "object" && value ? settingsWords(value) : String(value)]))),
  ];
}

const facts = (pairs) => h("dl", { class: "facts" }, pairs.map(([name, text]) => [h("dt", {}, name), h("dd", {}, text)]));

function card(name, version) {
  const place = h("div", { class: "markdown" }, h("p", { class: "soft" }, "…"));
  const details = h("details", { class: "card part" }, h("summary", {}, h("h3", {}, "Model card")), place);
  let asked = false;
  details.addEventListener("toggle", async () => {
    if (!details.open || asked) return;
    asked = true;
    try {
      const answer = await call(pathOf(name, version, "/card"), { accept: "text/markdown" });
      fill(place, markdown(await answer.text(), 4));
    } catch (error) {
      asked = false;
      fill(place, refusal(error));
    }
  });
  return details;
}

function number(title, value, words) {
  return { title, value, cell: (row) => words(value(row)), number: true };
}

const plural = (number, word) => `${counted(number)} ${word}${number === 1 ? "" : "s"}`;

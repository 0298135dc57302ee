/**
 * All versions as one table.
 *
 *     models --rowsOf--> a row for each version --modelTable--> table; a press on a ref opens the version
 */

import { h } from "../dom.js";
import { memoryButton, runsWords, stateChip } from "./state.js";
import { sortableTable } from "../parts/table.js";

/**
 * A row for each version; of a refused one little is known.
 * @param {{default: string | null, models: Object[]}} found as `GET v1/models` answers.
 */
export function rowsOf(found) {
  return found.models.flatMap((model) => model.versions.map((version) => ({
    ...version,
    name: model.name,
    ref: `${model.name}@${version.version}`,
    labels: labelsOf(model, version.version),
    isDefault: isDefault(found.default, model, version.version),
  })));
}

/** The labels of a version, with the share that its canary gets: ["stable", "canary, 10 % of the series"]. */
export function labelsOf({ labels, canary_weight: weight }, version) {
  const names = Object.keys(labels).filter((label) => labels[label] === version);
  return names.map((label) => (label === "canary" ? `canary, ${Math.round(weight * 1000) / 10} % of the series` : label));
}

/** Whether a default ref (`name`, `name@stable` or `name@3`) means this version. */
export function isDefault(ref, model, version) {
  const [name, selector = "stable"] = (ref ?? "").split("@");
  if (name !== model.name) return false;
  const highest = Math.max(...model.versions.map((each) => each.version));
  const meant = model.labels[selector] ?? (selector === "stable" ? highest : selector);
  return String(meant) === String(version);
}

/** Labels as chips. */
export const labelChips = (labels, isTheDefault) => [
  ...labels.map((label) => h("span", { class: "chip" }, label)),
  isTheDefault && h("span", { class: "chip good", title: "used when a request names no model" }, "default"),
].filter(Boolean).flatMap((chip) => [chip, " "]);

/**
 * @param {Object[]} rows
 * @param {{column: number, descending: boolean}} sorted as `sortableTable`.
 * @param {{open: (row) => void, changed: () => any}} does
 */
export function modelTable(rows, sorted, { open, changed }) {
  const columns = [
    { title: "Model", value: (row) => row.ref, head: true, cell: (row) => opener(row, open) },
    { title: "Labels", value: (row) => row.labels.join(" "), cell: (row) => labelChips(row.labels, row.isDefault) },
    { title: "Unit", value: (row) => row.unit },
    { title: "Recipe", value: (row) => row.recipe },
    { title: "What it is", cell: (row) => h("span", { class: "soft" }, row.summary ?? "") },
    { title: "State", value: (row) => row.state, cell: (row) => [stateChip(row), h("div", { class: "soft" }, runsWords(row))] },
    { title: "", cell: (row) => memoryButton(row.name, row.version, row.state, changed) },
  ];
  return sortableTable({ columns, rows, sorted, label: "Models" });
}

function opener(row, open) {
  if (row.state === "refused" && !row.unit) return row.ref; // its manifest cannot be read
  return h("button", { type: "button", class: "link", dataset: { ref: row.ref }, onclick: () => open(row) }, row.ref);
}

/**
 * Scores as a table with a plot in each row.
 *
 *     scores of one metric and contract --one axis--> sortable table: name, plot, degraded, restored, gain, interval
 */

import { h } from "../dom.js";
import { axisLabels, axisOf, dotPlot } from "../parts/dotplot.js";
import { betterOf, gainOf, gainShown, intervalShown, metricTitle, plotWords, shown, valuesOf } from "./scores.js";
import { sortableTable } from "../parts/table.js";

const RESTORED = 3; // of the columns below

/**
 * @param {{score: Object}[]} rows of one metric and contract.
 * @param {Object} first the column that names a row, as in `sortableTable`.
 * @param {{best?: boolean, label: string}} options `best`: the best restored score first; else in the order given.
 */
export function scoreTable(rows, first, { best = false, label }) {
  const one = rows[0].score;
  const axis = axisOf(valuesOf(rows.map((row) => row.score)));
  const columns = [
    { ...first, head: true },
    { title: axis ? axisLabels(axis) : "", cell: ({ score }) => axis && dotPlot(score, axis, plotWords(score)) },
    number("Degraded", (score) => score.degraded, shownAs("degraded"), "of the untreated image"),
    number("Restored", (score) => score.restored, shownAs("restored")),
    number("Gain", gainOf, gainShown, "better by so much"),
    number("Interval of restored", (score) => score.interval?.[0], intervalShown, one.interval_method),
    number("Patients", (score) => score.patients),
    number("Images", (score) => score.images),
  ];
  const sorted = best && betterOf(one) ? { column: RESTORED, descending: betterOf(one) > 0 } : undefined;
  return sortableTable({ columns, rows, sorted, label: `${label}: ${metricTitle(one)}` });
}

/** What the plots show. */
export function legend(score) {
  const way = { 1: "further right is better", "-1": "further left is better", 0: "" }[betterOf(score)];
  return h("p", { class: "soft legend" },
    h("span", { class: "mark degraded", "aria-hidden": "true" }, "○"), " degraded  ",
    h("span", { class: "mark restored", "aria-hidden": "true" }, "●"), " restored, with its interval",
    way && `; ${way}`);
}

function number(title, value, cell, help) {
  return { title, value: ({ score }) => value(score), cell: cell && (({ score }) => cell(score)), number: true, help };
}

const shownAs = (field) => (score) => shown(score[field], score);

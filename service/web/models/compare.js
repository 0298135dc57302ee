/**
 * The scores of all models under one degradation, one contract and one metric.
 *
 *     rows --degradation--> --contract--> --metric, each with what there is--> one table, one plot in each row, one axis
 */

import { choice } from "../parts/choice.js";
import { fill, h } from "../dom.js";
import { legend, scoreTable } from "./score-table.js";
import { caveats, choices, contractTitle, metricOf } from "./scores.js";

/**
 * @param {{open: (row) => void}} does
 * @returns {{element: HTMLElement, show: (rows: Object[]) => void}} `show`: rows of `rowsOf`.
 */
export function comparison({ open }) {
  let all = [];
  const place = h("div");
  const degradation = choice("Degradation", draw, { id: "compare-degradation" });
  const contract = choice("Contract", draw, { id: "compare-contract" });
  const metric = choice("Metric", draw, { id: "compare-metric" });
  const selects = h("p", { class: "row" }, degradation.element, contract.element, metric.element);
  const element = h("div", { id: "compare" }, selects, place);

  function draw() {
    let rows = all;
    const narrow = (select, offered, value) => {
      select.offer(offered(choices(rows.map((row) => row.score))));
      rows = rows.filter((row) => value(row.score) === select.value());
    };
    narrow(degradation, ({ degradations }) => degradations.map((text) => ({ value: text, text })), (score) => score.degradation);
    narrow(contract, ({ contracts }) => contracts.map((each) => ({ value: JSON.stringify(each), text: contractTitle(each) })),
      (score) => JSON.stringify(score.contract));
    narrow(metric, ({ metrics }) => metrics.map((id) => ({ value: id, text: metricOf(id).name })), (score) => score.metric);
    fill(place, rows.length ? table(rows, open) : h("p", { class: "soft" }, "No model here has scores."));
  }

  function show(rows) {
    all = rows.flatMap((row) => (row.scores ?? []).map((score) => ({ ...row, score })));
    draw();
  }
  return { element, show };
}

function table(rows, open) {
  const first = {
    title: "Model",
    value: (row) => row.ref,
    cell: (row) => h("button", { type: "button", class: "link", dataset: { ref: row.ref }, onclick: () => open(row) }, row.ref),
  };
  const scores = rows.map((row) => row.score);
  return [
    scoreTable(rows, first, { best: true, label: "Scores of all models" }),
    legend(scores[0]),
    h("p", { class: "soft" }, caveats(scores).join(" ")),
  ];
}

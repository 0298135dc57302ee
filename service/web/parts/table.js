/**
 * A table that its reader sorts.
 *
 *     columns, rows --ordered--> rows in order --cell--> <table>; a press on a heading turns the order round
 */

import { fill, h } from "../dom.js";

/**
 * Rows in the order of one column; those without a value are last, whichever way.
 * @param {Object[]} rows
 * @param {(row: Object) => any} value number or text; null, undefined and NaN are no value.
 * @param {boolean} descending
 */
function ordered(rows, value, descending) {
  const absent = (one) => one == null || Number.isNaN(one);
  const sign = descending ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [one, other] = [value(a), value(b)];
    if (absent(one) || absent(other)) return absent(one) - absent(other);
    if (typeof one === "string") return sign * one.localeCompare(String(other), "en", { numeric: true });
    return sign * (one - other);
  });
}

/**
 * @param {Object} table
 * @param {{title: string, value?: (row) => any, cell?: (row) => any, number?: boolean, head?: boolean, help?: string}[]}
 *     table.columns `value`: what is sorted by, and shown unless `cell` gives text or nodes; without it the column cannot
 *     be sorted. `head`: its cells name their rows. `help`: shown when the mouse rests on the heading.
 * @param {Object[]} table.rows
 * @param {{column?: number, descending?: boolean}} [table.sorted] at first, and written when the reader sorts; without
 *     a column the rows stay as they come.
 * @param {string} [table.label] what the table shows, for screen readers.
 * @returns {HTMLElement} a box that scrolls sideways where it is too narrow.
 */
export function sortableTable({ columns, rows, sorted, label }) {
  const order = sorted ?? {};
  const body = h("tbody");
  const heads = columns.map((column, index) => heading(column, () => {
    const descending = order.column === index ? !order.descending : Boolean(column.number);
    Object.assign(order, { column: index, descending });
    draw();
  }));

  function draw() {
    heads.forEach((head, index) => {
      if (order.column === index) head.setAttribute("aria-sort", order.descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    const shown = order.column !== undefined ? ordered(rows, columns[order.column].value, order.descending) : rows;
    fill(body, shown.map((row) => h("tr", {}, columns.map((column) => cellOf(column, row)))));
  }

  draw();
  return h("div", { class: "scroll" },
    h("table", { class: "sortable", "aria-label": label }, h("thead", {}, h("tr", {}, heads)), body));
}

function heading(column, press) {
  const attributes = { class: column.number ? "number" : null, scope: "col", title: column.help };
  if (!column.value) return h("th", attributes, column.title);
  return h("th", attributes, h("button", { type: "button", onclick: press }, column.title));
}

function cellOf(column, row) {
  const content = column.cell ? column.cell(row) : column.value(row);
  if (column.head) return h("th", { scope: "row" }, content);
  return h("td", { class: column.number ? "number" : null }, content);
}

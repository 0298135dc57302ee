/**
 * A choice with its label.
 *
 *     [{value, text}] --<select>--> changed(value)
 */

import { h, refill } from "../dom.js";

/**
 * @param {string} label
 * @param {(value: string) => void} changed
 * @param {Object} [attributes] of the select, such as its `id`.
 * @returns {{element: HTMLElement, value: () => string, offer: (options: {value: string, text: string}[]) => void}} `offer`
 *     replaces what there is to choose, and keeps what was chosen where that is still there.
 */
export function choice(label, changed, attributes = {}) {
  const select = h("select", { ...attributes, onchange: () => changed(select.value) });
  const element = h("label", { class: "choice" }, h("span", { class: "soft" }, label), select);
  const offer = (options) => {
    const before = select.value;
    refill(select, options, () => options.map(({ value, text }) => h("option", { value }, text)));
    if (options.some(({ value }) => value === before)) select.value = before;
  };
  return { element, value: () => select.value, offer };
}

/**
 * Asks before something is done that cannot be undone, or that others will notice.
 *
 *     confirmed({title, text, action}) --<dialog>--> true, or false (Escape, Cancel)
 */

import { h } from "../dom.js";

/**
 * @param {{title: string, text: string, action: string, danger?: boolean}} question `action`: what the button says.
 * @returns {Promise<boolean>}
 */
export function confirmed({ title, text, action, danger = false }) {
  const opener = document.activeElement;
  const named = { "aria-labelledby": "confirm-title", "aria-describedby": "confirm-text" };
  const dialog = h("dialog", { class: "confirm", role: "alertdialog", ...named },
    h("form", { method: "dialog" },
      h("h2", { id: "confirm-title" }, title),
      h("p", { id: "confirm-text" }, text),
      h("p", { class: "row end" },
        h("button", { value: "no" }, "Cancel"),
        h("button", { value: "yes", class: danger ? "danger" : "primary" }, action))));
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
      if (!opener.disabled) opener.focus();
    });
  });
}

/**
 * Instances whose UID had come before with other content: to be looked at, and removed.
 *
 *     GET v1/pacs/quarantine --keyed--> rows: reason, when, UIDs;  Download, Remove
 */

import { call, save } from "../api.js";
import { confirmed } from "../parts/confirm.js";
import { button, h, say } from "../dom.js";
import { shortId } from "../jobs/row.js";
import { keyedRows } from "../parts/keyed.js";
import { sentence } from "../parts/refusal.js";
import { moment } from "../parts/when.js";

/** @param {() => any} changed called when one was removed. */
export function quarantine(changed) {
  const rows = h("div", { class: "items" });
  const element = h("section", { id: "pacs-quarantine", hidden: true },
    h("h2", {}, "Quarantine"),
    h("p", { class: "soft" }, "Instances whose UID had come before with other content.",
      " Neither of the two can be known to be right; nothing is made of these."),
    rows);
  const show = keyedRows(rows, (item) => item.id, (item) => ({ element: row(item, changed), update: () => {} }));
  return {
    element,
    show(items) {
      element.hidden = !items.length;
      show(items);
    },
  };
}

function row(item, changed) {
  const path = `v1/pacs/quarantine/${encodeURIComponent(item.id)}`;
  const name = shortId(item);
  const download = button("Download", async () => {
    const answer = await call(path, { accept: "application/dicom" });
    save(await answer.blob(), `${item.id}.dcm`);
  }, { "aria-label": `Download instance ${name}` });
  const remove = button("Remove", async () => {
    const text = "This copy goes for good. The instance that came first, and what was made of it, stays.";
    if (!(await confirmed({ title: `Remove instance ${name}?`, text, action: "Remove", danger: true }))) return;
    await call(path, { method: "DELETE" });
    say(`Instance ${name} is removed.`);
    await changed();
  }, { class: "danger", "aria-label": `Remove instance ${name}` });
  return h("article", { class: "card item", dataset: { instance: item.id }, "aria-label": `Instance ${name}` },
    h("div", { class: "row" }, h("code", {}, item.instance), h("span", { class: "grow" }), download, remove),
    h("p", { class: "soft" }, sentence(item.reason), " ", moment(item.received, "Came ")),
    h("p", { class: "soft" }, "in series ", h("code", {}, item.series)));
}

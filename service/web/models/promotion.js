/**
 * A form that points a label at a version, or takes it away.
 *
 *     label, share of the canary --confirmed--> POST or DELETE .../labels/{label} --> changed()
 */

import { button, h, say } from "../dom.js";
import { act } from "./state.js";

const LABEL = "[a-z][a-z0-9\\-]{0,63}";
const CANARY = "canary";
const EFFECT = "Requests that name it, or no version at all where it is stable, get this version once it is loaded and warm.";

/**
 * @param {string} name of the model.
 * @param {number} version
 * @param {() => Object<string, number>} labels as they are now.
 * @param {() => any} changed called when the service has done it.
 */
export function promotion(name, version, labels, changed) {
  const label = h("input", { type: "text", name: "label", required: true, value: "stable", size: 9, pattern: LABEL, autocomplete: "off" });
  const weight = h("input", { type: "number", name: "weight", min: "0", max: "1", step: "any", value: "0.1" });
  const share = h("label", { hidden: true }, "with a share of ", weight);
  label.addEventListener("input", () => (share.hidden = label.value.trim() !== CANARY));
  const away = button("Take the label away", () => label.reportValidity() && remove(name, label.value.trim(), labels(), changed));
  const form = h("form", { class: "row", "aria-label": "Promote" },
    h("label", {}, "Point the label ", label), share, h("span", {}, `at ${name}@${version}`),
    h("button", {}, "Promote"), away);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await promote(name, version, label.value.trim(), weight.valueAsNumber, labels(), changed);
    } catch (error) {
      say(error.message, "error");
    }
  });
  return form;
}

const pathOf = (name, label) => `v1/models/${encodeURIComponent(name)}/labels/${encodeURIComponent(label)}`;

async function promote(name, version, label, weight, labels, changed) {
  const canary = label === CANARY;
  const now = label in labels ? `The label means ${name}@${labels[label]} now.` : `${name} has no such label yet.`;
  const gets = `It is to get ${Math.round(1000 * weight) / 10} % of the DICOM series whose senders name no version.`;
  const question = { title: `Point ${label} at ${name}@${version}?`, text: `${now} ${canary ? gets : EFFECT}`, action: "Promote" };
  const body = JSON.stringify({ version, ...(canary ? { weight } : {}) });
  await act(question, pathOf(name, label), { method: "POST", body }, `${label} of ${name} means version ${version}.`, changed);
}

async function remove(name, label, labels, changed) {
  if (!(label in labels)) throw new Error(`${name} has no label ${label}.`);
  const effects = {
    stable: "Requests that name no version then get the highest one.",
    canary: "Its share of the series then gets what all others get, and requests that name it are refused.",
  };
  const text = `It means ${name}@${labels[label]} now. ${effects[label] ?? "Requests that name it are then refused."}`;
  const question = { title: `Take the label ${label} of ${name} away?`, text, action: "Take it away", danger: true };
  await act(question, pathOf(name, label), { method: "DELETE" }, `${name} has no label ${label} any more.`, changed);
}

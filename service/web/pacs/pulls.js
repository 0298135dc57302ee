/**
 * Series that are fetched from a peer because somebody asked.
 *
 *     peer, series, study --POST v1/pacs/pulls, once only--> pull --keyed--> rows: state, counts, reason
 */

import { callJson, Unreachable } from "../api.js";
import { fill, h, say } from "../dom.js";
import { shortId } from "../jobs/row.js";
import { keyedRows, whenChanged } from "../parts/keyed.js";
import { onceOnly } from "../parts/once.js";
import { moment } from "../parts/when.js";

const KINDS = { done: "good", failed: "bad", running: "warn" };
const UID = "[0-9][0-9.]{0,63}";

/** @param {() => any} changed called when one was accepted. */
export function pulls(changed) {
  const rows = h("div", { class: "items" });
  const form = pullForm(changed);
  const element = h("section", { id: "pacs-pulls" }, h("h2", {}, "Pulls"),
    h("p", { class: "soft" }, "For a PACS that is asked for a series instead of sending it.",
      " What is fetched goes the way of what is sent: the rules decide."),
    form.element, rows);
  const show = keyedRows(rows, (pull) => pull.id, (pull) => pullRow(pull, form.prefill));
  return { element, show };
}

function pullForm(changed) {
  const once = onceOnly();
  const [peer, series, study] = [
    field("Peer, a DICOMweb one of pacs.toml", { id: "pull-peer", required: true }),
    field("SeriesInstanceUID", { id: "pull-series", required: true, pattern: UID }),
    field("StudyInstanceUID, if known", { id: "pull-study", pattern: UID }),
  ];
  const submit = h("button", {}, "Fetch it");
  const form = h("form", { class: "card row fields", id: "pull-form", "aria-label": "New pull" },
    peer.element, series.element, study.element, submit);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const asked = { peer: peer.value(), series: series.value(), study: study.value() };
    submit.disabled = true;
    try {
      const headers = { "Content-Type": "application/json", ...once.headersFor(Object.values(asked)) };
      const pull = await callJson("v1/pacs/pulls", { method: "POST", body: JSON.stringify(asked), headers });
      once.answered();
      form.reset();
      say(`Accepted as pull ${shortId(pull)}.`);
      await changed();
    } catch (error) {
      if (!(error instanceof Unreachable)) once.answered();
      say(error.message, "error");
    } finally {
      submit.disabled = false;
    }
  });
  const prefill = (pull) => {
    peer.set(pull.peer);
    series.set(pull.series);
    study.set(pull.study);
    submit.focus();
  };
  return { element: form, prefill };
}

function field(label, attributes) {
  const input = h("input", { type: "text", autocomplete: "off", spellcheck: false, ...attributes });
  const element = h("label", { class: "choice" }, h("span", { class: "soft" }, label), input);
  return { element, value: () => input.value.trim(), set: (text) => (input.value = text) };
}

function pullRow(pull, prefill) {
  const chip = h("span", { class: "chip" });
  const words = h("span");
  const reason = h("p", { class: "soft" });
  const when = h("p", { class: "soft" });
  const again = h("button", { type: "button", hidden: true, onclick: () => prefill(pull) }, "Ask again…");
  const element = h("article", { class: "card item", dataset: { pull: pull.id }, "aria-label": `Pull ${shortId(pull)}` },
    h("div", { class: "row" }, chip, h("span", {}, "from ", h("b", {}, pull.peer)), h("code", {}, pull.series),
      h("span", { class: "grow" }), words, again),
    reason, when);
  const update = whenChanged(({ state, fetched, refused, attempts, reason: why, created, due, finished }) => {
    chip.className = `chip ${KINDS[state] ?? ""}`;
    fill(chip, state);
    const counts = [`${fetched} fetched`, refused && `${refused} refused`, attempts && `${attempts} failed attempts`];
    fill(words, counts.filter(Boolean).join(", "));
    fill(reason, why);
    fill(when, moment(created, "asked "), due && [" · ", moment(due, "next ")], finished && [" · ", moment(finished, "ended ")]);
    again.hidden = state !== "failed";
  });
  return { element, update };
}

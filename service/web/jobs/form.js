/**
 * The form that starts a job.
 *
 *     file, model, strength --POST v1/jobs, with how much is sent--> started(job)
 *                                '-> no answer: the same request again is the same job (Idempotency-Key)
 */

import { callJson, Unreachable, upload } from "../api.js";
import { choice } from "../parts/choice.js";
import { fill, h, say } from "../dom.js";
import { onceOnly } from "../parts/once.js";

const ACCEPTED = ".zip,.tar,.tgz,.gz,.dcm,application/zip,application/x-tar,application/gzip,application/dicom";
const AUTO = { value: "auto", text: "auto: chosen by the noise of the series" };

/**
 * What a series can be restored by.
 * @param {{default: string | null, models: Object[]}} found as `GET v1/models` answers.
 * @returns {{value: string, text: string}[]} the default first, as "".
 */
function modelsFor(found) {
  const fit = found.models.filter((model) => model.versions.some((version) => version.unit === "HU"));
  const refs = fit.map(({ name, labels }) => ("stable" in labels ? `${name}@stable` : name));
  const standard = found.default ? `default: ${found.default}` : "default";
  return [{ value: "", text: standard }, AUTO, ...refs.map((ref) => ({ value: ref, text: ref }))];
}

/** @param {(job: Object) => void} started */
export function jobForm(started) {
  const once = onceOnly();
  const file = h("input", { type: "file", id: "job-file", required: true, accept: ACCEPTED });
  const model = choice("Model", () => {}, { id: "job-model" });
  const strength = h("input", { type: "number", id: "job-strength", min: "0", max: "1", step: "any", value: "1", required: true });
  const submit = h("button", { class: "primary" }, "Restore the series");
  const cancel = h("button", { type: "button" }, "Cancel");
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Sent" });
  const words = h("p", { class: "soft", role: "status" });
  const sending = h("div", { hidden: true }, bar, words, cancel);
  const form = h("form", { class: "card", id: "job-form", "aria-label": "New job" },
    h("h2", {}, "Restore a series"),
    h("label", { class: "choice" }, h("span", { class: "soft" }, "Zip or tar of a CT series, or one DICOM file"), file),
    model.element,
    h("label", { class: "choice" }, h("span", { class: "soft" }, "Strength, 0 to 1"), strength),
    h("p", { class: "row" }, submit), sending);
  model.offer(modelsFor({ default: null, models: [] }));

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const [chosen, ref, share] = [file.files[0], model.value(), strength.value];
    const parts = new FormData();
    if (ref) parts.append("model", ref);
    parts.append("strength", share);
    parts.append("series", chosen, chosen.name);
    const stop = new AbortController();
    cancel.onclick = () => stop.abort();
    submit.disabled = true;
    sending.hidden = false;
    told(0);
    try {
      const headers = once.headersFor([chosen, ref, share]);
      const job = await upload("v1/jobs", parts, { headers, signal: stop.signal, onProgress: told });
      once.answered();
      if (file.files[0] === chosen) file.value = ""; // another may have been picked meanwhile
      started(job);
      say(`Accepted: ${job.progress.total} instances.`);
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof Unreachable)) once.answered();
      const more = error instanceof Unreachable ? " Nothing is done twice: send it again." : "";
      say(error.message + more, "error");
    } finally {
      submit.disabled = false;
      sending.hidden = true;
    }
  });

  function told(share) {
    bar.value = share;
    fill(words, share < 1 ? `Sending, ${Math.floor(100 * share)} %` : "Sent; the service checks it…");
  }

  const offer = async (signal) => model.offer(modelsFor(await callJson("v1/models", { signal })));
  return { element: form, offer };
}

/**
 * One job, kept up to date in place.
 *
 *     job --jobRow--> state, progress, when, what was settled, what was noticed, problem;  Download, Remove
 */

import { call, save } from "../api.js";
import { confirmed } from "../parts/confirm.js";
import { button, fill, h } from "../dom.js";
import { whenChanged } from "../parts/keyed.js";
import { sentence } from "../parts/refusal.js";
import { moment } from "../parts/when.js";

const KINDS = { done: "good", failed: "bad", running: "warn" };

/**
 * @param {Object} job as the service describes it.
 * @param {() => any} removed called when it is gone.
 */
export function jobRow(job, removed) {
  const state = h("span", { class: "chip" });
  const bar = h("progress");
  const count = h("span", { class: "number" });
  const settled = h("p", {});
  const when = h("p", { class: "soft" });
  const noticed = h("p", { class: "soft" });
  const problem = h("div");
  let now = job;
  const download = button("Download the result", () => fetchResult(now), { class: "primary", hidden: true });
  const remove = button("Remove", () => removeJob(now, removed), { class: "danger", "aria-label": `Remove job ${shortId(job)}` });
  const element = h("article", { class: "card item", dataset: { job: job.id }, "aria-label": `Job ${shortId(job)}` },
    h("div", { class: "row" }, state, h("code", { title: job.id }, shortId(job)), h("span", { class: "grow" }), download, remove),
    h("div", { class: "progress" }, bar, count), settled, problem, noticed, when);

  const update = whenChanged((next) => {
    now = next;
    const { done, total } = next.progress;
    state.className = `chip ${KINDS[next.state] ?? ""}`;
    fill(state, next.state);
    bar.max = total;
    bar.value = done;
    bar.setAttribute("aria-label", `${done} of ${total} instances`);
    fill(count, `${done}/${total}`);
    fill(settled, settledWords(next));
    fill(noticed, noticedWords(next).join("; "));
    fill(problem, next.problem && problemNote(next.problem));
    fill(when, momentsOf(next));
    download.hidden = !next.links.result;
  });
  return { element, update };
}

/** The first digits of an id, for people. */
export const shortId = ({ id }) => id.slice(0, 8);

/** A problem document in its own words. */
export function problemNote({ title, detail }) {
  return h("div", { class: "note bad" }, h("b", {}, sentence(title ?? "")), " ", sentence(detail ?? ""));
}

function settledWords({ model, strength, precision, chosen }) {
  const why = chosen && h("span", { class: "soft" }, ` (auto: ${chosen})`);
  return [h("b", {}, model), `, strength ${strength}`, precision && `, ${precision}`, why];
}

function noticedWords({ left_out: leftOut = {}, clipped = 0, warned = 0, reencoded = false }) {
  const left = Object.entries(leftOut).map(([kind, number]) => `${number} ${kind}`);
  return [
    left.length && `left out: ${left.join(", ")}`,
    warned && `${warned} instances carry a warning of the guard`,
    clipped && `${clipped} pixels were clipped`,
    reencoded && "the series could not keep its source's encoding",
  ].filter(Boolean);
}

function momentsOf({ created, finished, expires }) {
  const parts = [
    moment(created, "accepted "),
    finished && moment(finished, "finished "),
    expires && moment(expires, "expires "),
  ];
  return parts.filter(Boolean).flatMap((part, index) => (index ? [" · ", part] : [part]));
}

async function fetchResult({ id, links }) {
  const answer = await call(links.result, { accept: "application/zip" });
  save(await answer.blob(), `clearslice-${id}.zip`);
}

async function removeJob(job, removed) {
  const ended = ["done", "failed"].includes(job.state);
  const sure = await confirmed({
    title: `Remove job ${shortId(job)}?`,
    text: ended ? "All that is kept of it goes, its result too." : "It is stopped, and all that is kept of it goes.",
    action: "Remove",
    danger: true,
  });
  if (!sure) return;
  await call(job.links.self, { method: "DELETE" });
  await removed();
}

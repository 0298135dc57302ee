/**
 * A series that came from a PACS, kept up to date in place.
 *
 *     series --seriesRow--> state, rule, progress, deliveries by peer, problem;  Requeue, Discard of what went wrong
 */

import { call, callJson } from "../api.js";
import { confirmed } from "../parts/confirm.js";
import { button, fill, h, say } from "../dom.js";
import { problemNote, shortId } from "../jobs/row.js";
import { whenChanged } from "../parts/keyed.js";
import { moment } from "../parts/when.js";

const KINDS = { delivered: "good", verified: "good", failed: "bad", dead: "bad", restoring: "warn", delivering: "warn" };
const REQUEUE = {
  dead: "It is sent again as it was restored; nothing is made anew.",
  failed: "It is tried once more with the images that are here."
    + " If it was not whole, or no rule took it, it is looked at anew, under the rules of now.",
};

/**
 * @param {Object} series as the service describes it.
 * @param {() => any} changed called when it was requeued or discarded.
 */
export function seriesRow(series, changed) {
  const chip = h("span", { class: "chip" });
  const title = h("span");
  const bar = h("progress");
  const count = h("span", { class: "number" });
  const progress = h("div", { class: "progress" }, bar, count);
  const problem = h("div");
  const deliveries = h("ul", { class: "plain-list" });
  const more = h("dl", { class: "facts" });
  const when = h("p", { class: "soft" });
  const name = shortId(series);
  let now = series;
  const requeue = button("Requeue", () => act(now, "requeue", changed), { hidden: true, "aria-label": `Requeue series ${name}` });
  const discard = button("Discard", () => act(now, "discard", changed), { hidden: true, class: "danger", "aria-label": `Discard series ${name}` });
  const element = h("article", { class: "card item", dataset: { series: series.id }, "aria-label": `Series ${name}` },
    h("div", { class: "row" }, chip, title, h("span", { class: "grow" }), requeue, discard),
    progress, problem, deliveries, when,
    h("details", {}, h("summary", { class: "soft" }, "UIDs and settings"), more));

  const update = whenChanged((next) => {
    now = next;
    chip.className = `chip ${KINDS[next.state] ?? ""}`;
    fill(chip, next.state);
    fill(title, h("b", {}, next.model || "no model"), ` by rule ‘${next.rule}’`, next.sender && `, from ${next.sender}`);
    progress.hidden = !next.instances;
    bar.max = next.instances || 1;
    bar.value = next.done;
    bar.setAttribute("aria-label", `${next.done} of ${next.instances} instances`);
    fill(count, `${next.done}/${next.instances}`);
    fill(problem, next.problem && problemNote(next.problem));
    fill(deliveries, next.deliveries.map(deliveryLine));
    fill(more, factsOf(next).map(([key, text]) => [h("dt", {}, key), h("dd", {}, text)]));
    fill(when, moment(next.created, "complete "), next.finished && [" · ", moment(next.finished, "ended ")]);
    requeue.hidden = discard.hidden = !(next.state in REQUEUE);
  });
  return { element, update };
}

function deliveryLine({ peer, state, attempts, reason, due }) {
  const tries = attempts ? `, ${attempts} failed ${attempts === 1 ? "attempt" : "attempts"}` : "";
  return h("li", {}, "to ", h("b", {}, peer), " ", h("span", { class: `chip ${KINDS[state] ?? ""}` }, state), tries,
    due && [", ", moment(due, "next ")], reason && h("div", { class: "soft" }, reason));
}

function factsOf(series) {
  const { study, derived_series: derived, strength, precision, chosen, left_out: leftOut } = series;
  const { revision, joins, reencoded, clipped, warned } = series;
  return [
    ["Id", series.id],
    ["StudyInstanceUID", study],
    ["SeriesInstanceUID", series.series],
    ["Derived SeriesInstanceUID", derived],
    ["Strength", String(strength)],
    ["Precision", precision],
    ["Chosen by auto", chosen],
    ["Left out", leftOut ? `${leftOut} instances` : ""],
    ["Warned", warned ? `${warned} instances are unlike what the model was made for` : ""],
    ["Clipped", clipped ? `${clipped} pixels` : ""],
    ["Encoding", reencoded ? "not that of the source" : ""],
    ["Joins", joins ? `the derived series of ${joins}` : ""],
    ["Made anew", revision ? `${revision} times` : ""],
  ].filter(([, text]) => text);
}

async function act(series, what, changed) {
  const name = shortId(series);
  const path = `v1/pacs/series/${encodeURIComponent(series.id)}`;
  if (what === "requeue") {
    const question = { title: `Requeue series ${name}?`, text: REQUEUE[series.state] ?? "", action: "Requeue" };
    if (!(await confirmed(question))) return;
    const found = await callJson(`${path}/requeue`, { method: "POST" });
    say(found.series ? `Series ${name} is tried again.` : `Series ${name} is looked at anew, and becomes another one.`);
  } else {
    const text = "Its images are removed from this node for good, and it cannot be requeued any more."
      + " Its record stays until it is forgotten.";
    const question = { title: `Discard series ${name}?`, text, action: "Discard", danger: true };
    if (!(await confirmed(question))) return;
    await call(path, { method: "DELETE" });
    say(`Series ${name} is discarded.`);
  }
  await changed();
}

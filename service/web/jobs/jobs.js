/**
 * The page of jobs.
 *
 *     GET v1/jobs every 3 s --> jobs by id --keyed rows--> articles
 *     events of at most two ----^        POST v1/jobs (form.js), DELETE
 */

import { callJson } from "../api.js";
import { fill, h, refill } from "../dom.js";
import { follower } from "./follow.js";
import { jobForm } from "./form.js";
import { jobRow } from "./row.js";
import { keyedRows } from "../parts/keyed.js";
import { isAnswer, isFinal, isLasting, refusal } from "../parts/refusal.js";
import { repeating } from "../parts/repeat.js";
import { viewOf } from "../parts/view.js";
import { refresh } from "../parts/when.js";

const EVERY_S = 3;

/** @param {HTMLElement} section empty. */
export function start(section) {
  const jobs = new Map();
  const trouble = h("div");
  const rows = h("div", { class: "items", id: "job-list" });
  const none = h("p", { class: "soft", hidden: true }, "No jobs yet. Jobs are seen by the key that started them.");
  const form = jobForm((job) => {
    jobs.set(job.id, job);
    draw();
    again.now();
  });
  const body = h("div", { class: "beside" }, form.element, h("div", {}, none, rows));
  const heading = h("div", { class: "row head" },
    h("h1", {}, "Jobs"), h("p", { class: "soft" }, "Whole CT series, restored in the background"));
  fill(section, heading, trouble, body);

  const show = keyedRows(rows, (job) => job.id, (job) => jobRow(job, () => {
    jobs.delete(job.id);
    draw();
  }));
  const streams = follower((job, event) => {
    if (event === "removed") jobs.delete(job.id);
    else jobs.set(job.id, job);
    draw();
  });
  const again = repeating(load, EVERY_S);
  let offered = false;

  async function load(signal) {
    try {
      if (!offered) await form.offer(signal);
      offered = true;
      take((await callJson("v1/jobs", { signal })).jobs);
      refill(trouble, null, () => []);
      body.hidden = false;
      draw();
      streams.choose([...jobs.values()]);
      return true;
    } catch (error) {
      if (!isAnswer(error)) throw error;
      refill(trouble, error.message, () => [refusal(error, isLasting(error) && h("p", { class: "soft" }, "More: docs/jobs.md."))]);
      if (isFinal(error)) body.hidden = true;
      return !isFinal(error);
    }
  }

  function take(list) {
    const listed = new Set(list.map((job) => job.id));
    for (const id of jobs.keys()) if (!listed.has(id)) jobs.delete(id);
    for (const job of list) if (!streams.has(job.id)) jobs.set(job.id, job);
  }

  function draw() {
    const sorted = [...jobs.values()].sort((a, b) => b.created.localeCompare(a.created));
    none.hidden = sorted.length > 0;
    show(sorted);
    refresh(rows);
  }

  const rekeyed = () => {
    streams.stop();
    offered = false;
  };
  return viewOf(again, { rekeyed, left: () => streams.stop() });
}

/**
 * Jobs that are followed by server-sent events, a few at a time: browsers allow six connections to a host by HTTP/1.1.
 *
 *     jobs --the first active ones--> GET .../events --> told(job) at each instance;   the others: the list is asked again
 */

import { events } from "../api.js";
import { isAnswer } from "../parts/refusal.js";

const MOST = 2;

/** Whether a job will still change. */
const isActive = (job) => job.state === "queued" || job.state === "running";

/** @param {(job: Object, event: string) => void} told */
export function follower(told) {
  const streams = new Map();

  async function follow(job, stop) {
    try {
      for await (const { event, data } of events(job.links.events, stop.signal)) told(data, event);
    } catch (error) {
      if (error.name !== "AbortError" && !isAnswer(error)) throw error;
      // the connection broke: the next look at the list begins anew
    } finally {
      if (streams.get(job.id) === stop) streams.delete(job.id);
    }
  }

  return {
    /** Follows the first of these, those that run before those that wait. */
    choose(jobs) {
      const active = jobs.filter(isActive);
      const [running, queued] = ["running", "queued"].map((state) => active.filter((job) => job.state === state));
      for (const job of [...running, ...queued.reverse()]) {
        if (streams.size >= MOST) return;
        if (streams.has(job.id)) continue;
        const stop = new AbortController();
        streams.set(job.id, stop);
        follow(job, stop);
      }
    },
    /** Whether a job is followed, so that a list that was asked for earlier says nothing new of it. */
    has: (id) => streams.has(id),
    stop() {
      for (const stop of streams.values()) stop.abort();
      streams.clear();
    },
  };
}

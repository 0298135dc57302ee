/**
 * Whether a version is in memory, and what an administrator can do about it.
 *
 *     version --stateChip--> loaded | loading | not loaded | refused: why
 *     Load, Unload --confirmed--> POST --> changed()       401, 403: in the service's words
 */

import { callJson } from "../api.js";
import { confirmed } from "../parts/confirm.js";
import { button, h, say } from "../dom.js";

const KINDS = { loaded: "good", loading: "warn", refused: "bad" };
const JSON_BODY = { "Content-Type": "application/json" };

/** The state as a chip; the reason of a refusal beside it. */
export function stateChip({ state, reason }) {
  return [h("span", { class: `chip ${KINDS[state] ?? ""}` }, state), reason && h("p", { class: "bad soft" }, reason)];
}

/** "float32 on CPU:0, 0.21 s for 512 × 512" of a version that is loaded. */
export function runsWords({ precision, device, timings = {} }) {
  if (!precision) return "";
  const seconds = timings[precision];
  return `${precision} on ${device}${seconds ? `, ${seconds.toPrecision(2)} s for 512 × 512` : ""}`;
}

/** The address of a version, or of what is below it. */
export function pathOf(name, version, below = "") {
  return `v1/models/${encodeURIComponent(name)}/versions/${encodeURIComponent(version)}${below}`;
}

/** Load or unload, whichever the state allows; null where neither. */
export function memoryButton(name, version, state, changed) {
  const ref = `${name}@${version}`;
  const made = (action, text, done) => button(
    action,
    () => act({ title: `${action} ${ref}?`, text, action }, pathOf(name, version, `/${action.toLowerCase()}`), { method: "POST" }, done, changed),
    { "aria-label": `${action} ${ref}` },
  );
  if (state === "loaded") {
    const text = "Its memory is freed once the requests that use it are done. The next request for it waits until it is loaded again.";
    return made("Unload", text, `${ref} is unloaded.`);
  }
  if (state !== "not loaded") return null;
  const text = "It is loaded, proven with its golden sample and warmed: that takes some seconds, and memory of the device."
    + " Where there is no room, another version makes it.";
  return made("Load", text, `${ref} is loaded.`);
}

/**
 * Asks, does, tells.
 * @param {Object} question as of `confirmed`.
 * @param {string} path
 * @param {{method: string, body?: string}} request
 * @param {string} done what is said then.
 * @param {() => any} changed
 */
export async function act(question, path, request, done, changed) {
  if (!(await confirmed(question))) return;
  await callJson(path, { ...request, headers: request.body ? JSON_BODY : {} });
  say(done);
  await changed();
}

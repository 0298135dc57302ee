/**
 * Calls to the service that this page came from, and to nowhere else.
 *
 *     call(path) --> Response      429, 503 with Retry-After: tried again
 *         Problem: what the service answered, in its own words; Unreachable: it did not answer
 *
 * Paths are relative, so that the page also works below a prefix of a proxy.
 */

const BASE = new URL(".", document.baseURI);
const KEY = "clearslice-key";
const MOST_TRIES = 6;
const LONGEST_WAIT_S = 15;

/** The service gives a sign of life in an event stream three times as often. */
const SILENCE_MS = 45_000;

/** Dispatches `wanted` when the service asks for a key, `asked` when the user wants to give one, `changed` when one was given. */
export const keys = new EventTarget();

/** The API key that the user gave in this tab, or "". It ends with the tab. */
export const key = () => sessionStorage.getItem(KEY) ?? "";

/** Keeps a key for this tab; "" forgets it. */
export function setKey(text) {
  if (text) sessionStorage.setItem(KEY, text);
  else sessionStorage.removeItem(KEY);
  keys.dispatchEvent(new Event("changed"));
}

/** What the service refused, from its problem document (RFC 9457). */
export class Problem extends Error {
  constructor(document, status) {
    super(document.detail ?? document.title ?? `The service answered ${status}.`);
    this.name = "Problem";
    this.title = document.title ?? "";
    this.type = document.type ?? "";
    this.status = status;
    this.document = document;
  }
}

/** The service did not answer at all. */
export class Unreachable extends Error {
  constructor() {
    super("The service did not answer. Is it running, and is the network up?");
    this.name = "Unreachable";
  }
}

/** The address of a path of the service. */
export const urlOf = (path) => new URL(path.replace(/^\//, ""), BASE);

/**
 * One call.
 * @param {string} path as in "v1/models", or "/v1/jobs/1" as the service links.
 * @param {{method?: string, body?: FormData | string, accept?: string, headers?: Object<string, string>,
 *     signal?: AbortSignal, tries?: number}} [options] `tries`: how often a busy service is asked; 1 for what must not
 *     be sent twice.
 * @returns {Promise<Response>} with a status below 300.
 * @throws {Problem | Unreachable | DOMException} the last when `signal` aborted it.
 */
export async function call(path, options = {}) {
  const { method = "GET", body, accept = "application/json", headers = {}, signal, tries = MOST_TRIES } = options;
  const all = { Accept: accept, ...headers, ...(key() ? { Authorization: `Bearer ${key()}` } : {}) };
  for (let tried = 1; ; tried++) {
    const answer = await fetched(urlOf(path), { method, body, headers: all, signal, cache: "no-store" });
    if (answer.ok) return answer;
    const wait = Number(answer.headers.get("Retry-After"));
    if (![429, 503].includes(answer.status) || !wait || tried >= tries) throw await problemOf(answer);
    await pause(Math.min(wait, LONGEST_WAIT_S) * 1000, signal);
  }
}

/** One call whose answer is JSON; as `call`. */
export async function callJson(path, options) {
  const answer = await call(path, options);
  const text = await bodyOf(answer, "text");
  try {
    return JSON.parse(text);
  } catch {
    throw new Unreachable(); // a proxy's page, say
  }
}

/**
 * The body of an answer.
 * @param {Response} answer
 * @param {"arrayBuffer" | "blob" | "text"} kind
 * @throws {Unreachable | DOMException} the connection broke in the middle; or it was aborted.
 */
export async function bodyOf(answer, kind) {
  try {
    return await answer[kind]();
  } catch (error) {
    throw error.name === "AbortError" ? error : new Unreachable();
  }
}

/**
 * Server-sent events, one after the other, until the service ends them. (EventSource could send no key.)
 * @param {string} path
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<{event: string, data: any}>} data parsed as JSON.
 * @throws {Unreachable} the connection broke, or nothing came for longer than the service is ever silent.
 */
export async function* events(path, signal) {
  const answer = await call(path, { accept: "text/event-stream", signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await silentFor(SILENCE_MS, reader);
    if (done) return;
    const blocks = (rest + value).split(/\r?\n\r?\n/);
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split(/\r?\n/).map((line) => line.split(/:\s?(.*)/s, 2)));
      if (fields.data) yield { event: fields.event ?? "message", data: JSON.parse(fields.data) };
    }
  }
}

/**
 * A form of files, of which one wants to see how much has been sent (fetch does not tell). Sent once.
 * @param {string} path
 * @param {FormData} form
 * @param {{onProgress?: (share: number) => void, headers?: Object<string, string>, signal?: AbortSignal}} [options]
 *     `onProgress`: 0 to 1, of the bytes sent; the service may work on them after that.
 * @returns {Promise<any>} the JSON of the answer.
 * @throws {Problem | Unreachable | DOMException} as `call`.
 */
export function upload(path, form, { onProgress, headers = {}, signal } = {}) {
  const request = new XMLHttpRequest();
  request.open("POST", urlOf(path));
  const all = { Accept: "application/json", ...headers, ...(key() ? { Authorization: `Bearer ${key()}` } : {}) };
  for (const [name, value] of Object.entries(all)) request.setRequestHeader(name, value);
  request.upload.onprogress = ({ loaded, total }) => total && onProgress?.(loaded / total);
  return new Promise((resolve, reject) => {
    request.onload = async () => {
      const answer = new Response(request.responseText, { status: request.status });
      if (answer.ok) resolve(answer.json());
      else reject(await problemOf(answer));
    };
    request.onerror = () => reject(new Unreachable());
    request.onabort = () => reject(signal.reason);
    signal?.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

/** The next piece of a stream, if it comes in time. */
async function silentFor(most, reader) {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Unreachable()), most)));
  try {
    return await Promise.race([reader.read(), late]);
  } catch (error) {
    reader.cancel().catch(() => {});
    throw error.name === "AbortError" ? error : new Unreachable();
  } finally {
    clearTimeout(timer);
  }
}

/** Saves an answer, or any blob, as a file of the user's. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

async function fetched(url, request) {
  try {
    return await fetch(url, request);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Unreachable();
  }
}

async function problemOf(answer) {
  const text = await answer.text().catch(() => "");
  let found = {};
  try {
    found = JSON.parse(text);
  } catch {
    // a proxy's page, say: only its status means something here
  }
  if (answer.status === 401) keys.dispatchEvent(new Event("wanted"));
  return new Problem(found, answer.status);
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

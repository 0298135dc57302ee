/**
 * To keep a result: a file as it came or in another format, the whole series as a job, and the curl line of it.
 *
 *     model, strength --POST v1/reconstructions--> file      series --POST v1/jobs--> job, shown on its page
 */

import { key, save, upload, urlOf } from "../api.js";
import { file } from "./asks.js";
import { choice } from "../parts/choice.js";
import { button, fill, h, say } from "../dom.js";
import { onceOnly } from "../parts/once.js";

const FORMATS = {
  dicom: { name: "DICOM", type: "application/dicom", suffix: "dcm" },
  png: { name: "PNG", type: "image/png", suffix: "png" },
  tiff: { name: "TIFF, float32", type: "image/tiff", suffix: "tiff" },
  npy: { name: "NPY, float32", type: "application/x-npy", suffix: "npy" },
};

const NATIVE = "native";

/** What a file can be kept as: as it came, or converted; PNG holds one image. */
const formatsFor = ({ format, frames }) =>
  [NATIVE, ...["png", "tiff", "npy"].filter((other) => other !== format && (other !== "png" || frames === 1))];

/**
 * The same request as a line for a shell.
 * @param {{url: string, file: string, model: string, strength: number, rescale: [number, number] | null, type: string | null,
 *     output: string, withKey: boolean}} request `type`: of the Accept header, null for the file's own.
 */
function curlLine({ url, file, model, strength, rescale, type, output, withKey }) {
  const parts = ["curl --fail-with-body", ...(withKey ? ['-H "Authorization: Bearer $CLEARSLICE_KEY"'] : []), ...(type ? [`-H 'Accept: ${type}'`] : [])];
  const fields = [`image=@${curlName(file)}`, `model=${model}`];
  if (strength < 1) fields.push(`strength=${strength}`);
  if (rescale) fields.push(`rescale_slope=${rescale[0]}`, `rescale_intercept=${rescale[1]}`);
  return [...parts, ...fields.map((field) => `-F ${quoted(field)}`), `-o ${quoted(output)}`, quoted(url)].join(" ");
}

/** A name inside of a -F field: curl reads ; and , in names unless they are quoted. */
const curlName = (name) => (/[;,"\\]/.test(name) ? `"${name.replace(/["\\]/g, "\\$&")}"` : name);

/** A word for a POSIX shell. */
const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

/** @param {import("./session.js").Session} session */
export function start(session) {
  const place = h("section", { class: "card", id: "keep-card", "aria-label": "Keep", hidden: true });
  const [model, format] = ["Model to keep", "Format"].map((label) => choice(label, show));
  const line = h("pre", { class: "curl", tabindex: "0", "aria-label": "The same with curl" });
  const job = button("The whole series…", () => startJob(session, model.value()), { id: "start-job", title: "Restores all slices in the background; the result is a zip file of DICOM" });
  const copy = button("Copy the line", () => copied(line), { id: "copy-curl" });
  fill(
    place,
    h("h2", {}, "Keep"),
    h("div", { class: "row" }, model.element, format.element, button("Download", () => download(session, model.value(), format.value()), { class: "primary", id: "download" }), job),
    line,
    h("p", {}, copy),
  );
  function show() {
    const about = session.image()?.about;
    place.hidden = !about || session.chosen().length === 0;
    if (place.hidden) return;
    model.offer(session.chosen().map((ref) => ({ value: ref, text: session.restored(ref)?.model ?? ref })));
    format.offer(formatsFor(about).map((name) => ({ value: name, text: name === NATIVE ? `As it came: ${about.format.toUpperCase()}` : FORMATS[name].name })));
    job.hidden = about.format !== "dicom" || session.study.slices.length === 1;
    const { name, output, type, ...request } = requestOf(session, model.value(), format.value());
    const accept = format.value() === NATIVE ? null : type;
    line.textContent = curlLine({ ...request, file: name, output, type: accept, url: urlOf("v1/reconstructions").href, withKey: key() !== "" });
  }
  session.addEventListener("change", ({ names }) => {
    if (names.size > 1 || !["cursor", "viewport", "window"].some((name) => names.has(name))) show();
  });
  return place;
}

function requestOf(session, model, format) {
  const { source } = session.slice();
  const name = source.name.split("/").at(-1);
  const { type, suffix } = FORMATS[format === NATIVE ? session.image().about.format : format];
  const output = `${name.replace(/\.[^.]*$/, "")}-${model.split("@")[0]}.${suffix}`;
  return { name, output, type, model, strength: session.strength, rescale: session.study.rescale };
}

async function download(session, model, format) {
  const { output, type, strength, rescale } = requestOf(session, model, format);
  const made = await file({ blob: await session.slice().source.blob(), rescale }, { model, strength, type });
  save(made.blob, output);
  say(`${output} by ${made.model}${made.clipped ? `; ${made.clipped} pixels did not fit the format` : ""}`);
}

async function copied(line) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(line.textContent);
    say("Copied.");
    return;
  }
  getSelection().selectAllChildren(line); // the clipboard is for secure origins only
  say("The line is selected: copy it with Ctrl+C.");
}

/** A job that is asked for twice, after a lost answer, is one. */
const once = onceOnly();

async function startJob(session, model) {
  const { study, strength } = session;
  if (!study.complete()) throw new Error("The series is still being read.");
  const headers = once.headersFor([study, study.shown(), model, strength]);
  const form = new FormData();
  form.set("series", await study.forJob(), study.archive?.name ?? "series.tar");
  form.set("model", model);
  form.set("strength", String(strength));
  const close = say("The series is sent; the page Jobs shows how far it is.");
  try {
    await upload("v1/jobs", form, { headers });
    once.answered();
    location.hash = "#jobs";
  } finally {
    close();
  }
}

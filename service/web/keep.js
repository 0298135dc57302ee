/**
 * To keep a result: a file as it came or in another format, the whole series as a job, and the curl line of it.
 *
 *     model, strength --POST v1/reconstructions--> file      series --POST v1/jobs--> job, shown on its page
 */

import { call, key, save, upload, urlOf } from "./api.js";
import { button, fill, h, say } from "./dom.js";

const FORMATS = {
  dicom: { name: "DICOM", type: "application/dicom", suffix: "dcm" },
  png: { name: "PNG", type: "image/png", suffix: "png" },
  tiff: { name: "TIFF, float32", type: "image/tiff", suffix: "tiff" },
  npy: { name: "NPY, float32", type: "application/x-npy", suffix: "npy" },
};

/** Formats that a file of one format can become, its own first; PNG holds one image. */
export const formatsFor = ({ format, frames }) =>
  [format, ...["png", "tiff", "npy"].filter((other) => other !== format && (other !== "png" || frames === 1))];

/**
 * The same request as a line for a shell.
 * @param {{url: string, file: string, model: string, strength: number, rescale: [number, number] | null, type: string | null,
 *     output: string, withKey: boolean}} request `type`: of the Accept header, null for the file's own.
 */
export function curlLine({ url, file, model, strength, rescale, type, output, withKey }) {
  const parts = ["curl -f", ...(withKey ? ['-H "Authorization: Bearer $CLEARSLICE_KEY"'] : []), ...(type ? [`-H 'Accept: ${type}'`] : [])];
  const fields = [`image=@${curlName(file)}`, `model=${model}`];
  if (strength < 1) fields.push(`strength=${strength}`);
  if (rescale) fields.push(`rescale_slope=${rescale[0]}`, `rescale_intercept=${rescale[1]}`);
  return [...parts, ...fields.map((field) => `-F ${quoted(field)}`), `-o ${quoted(output)}`, quoted(url)].join(" ");
}

/** A name inside of a -F field: curl reads ; and , in names unless they are quoted. */
const curlName = (name) => (/[;,"\\]/.test(name) ? `"${name.replace(/["\\]/g, "\\$&")}"` : name);

/** A word for a POSIX shell. */
export const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

/** @param {import("./session.js").Session} session */
export function start(session) {
  const place = h("section", { class: "card", id: "keep-card", "aria-label": "Keep", hidden: true });
  const model = h("select", { "aria-label": "Model to keep" });
  const format = h("select", { "aria-label": "Format" });
  const line = h("pre", { class: "curl", tabindex: "0", "aria-label": "The same with curl" });
  const job = button("The whole series…", () => startJob(session, model.value), { id: "start-job", title: "Restores all slices in the background; the result is a zip file of DICOM" });
  fill(
    place,
    h("h2", {}, "Keep"),
    h("p", { class: "row" }, model, format, button("Download", () => download(session, model.value, format.value), { class: "primary", id: "download" }), job),
    line,
    h("p", {}, button("Copy the line", async () => {
      await navigator.clipboard.writeText(line.textContent);
      say("Copied.");
    }, { id: "copy-curl" })),
  );
  const show = () => {
    const about = session.image()?.about;
    place.hidden = !about || session.chosen().length === 0;
    if (place.hidden) return;
    choices(model, session.chosen().map((ref) => [ref, session.restored(ref)?.model ?? ref]));
    choices(format, formatsFor(about).map((name, index) => [name, index === 0 ? `As it came: ${FORMATS[name].name}` : FORMATS[name].name]));
    job.hidden = about.format !== "dicom" || session.study.slices.length === 1;
    const request = requestOf(session, model.value, format.value);
    line.textContent = curlLine({ ...request, file: request.name, url: urlOf("v1/reconstructions").href, withKey: key() !== "" });
  };
  session.addEventListener("change", ({ names }) => names.has("cursor") || show());
  for (const select of [model, format]) select.addEventListener("change", show);
  return place;
}

function requestOf(session, model, format) {
  const { source } = session.slice();
  const name = source.name.split("/").at(-1);
  const native = session.image().about.format === format;
  const stem = name.replace(/\.[^.]*$/, "");
  return {
    name, model, strength: session.strength, rescale: session.study.rescale, type: native ? null : FORMATS[format].type,
    output: `${stem}-${model.split("@")[0]}.${FORMATS[format].suffix}`,
  };
}

async function download(session, model, format) {
  const { source } = session.slice();
  const request = requestOf(session, model, format);
  const body = new FormData();
  body.set("image", await source.blob(), request.name);
  body.set("model", model);
  body.set("strength", String(request.strength));
  if (request.rescale) {
    body.set("rescale_slope", String(request.rescale[0]));
    body.set("rescale_intercept", String(request.rescale[1]));
  }
  const answer = await call("v1/reconstructions", { method: "POST", body, accept: FORMATS[format].type });
  save(await answer.blob(), request.output);
  const clipped = answer.headers.get("Clearslice-Clipped");
  say(`${request.output} by ${answer.headers.get("Clearslice-Model")}${clipped ? `; ${clipped} pixels did not fit the format` : ""}`);
}

async function startJob(session, model) {
  const { study } = session;
  if (!study.complete()) throw new Error("The series is still being read.");
  const form = new FormData();
  form.set("series", await study.forJob(), study.archive?.name ?? "series.tar");
  form.set("model", model);
  form.set("strength", String(session.strength));
  const close = say("The series is sent; the page Jobs shows how far it is.");
  try {
    await upload("v1/jobs", form, { headers: { "Idempotency-Key": crypto.randomUUID() } });
    location.hash = "#jobs";
  } finally {
    close();
  }
}

function choices(select, options) {
  const wanted = JSON.stringify(options);
  if (select.dataset.shown === wanted) return;
  const before = select.value;
  select.dataset.shown = wanted;
  fill(select, options.map(([value, text]) => h("option", { value }, text)));
  if (options.some(([value]) => value === before)) select.value = before;
}

/**
 * What the viewer asks of the service, as arrays and words.
 *
 *     file --look--> its pixels, what it is      file, model --restore--> restored pixels, warnings; --file--> a file
 *     pixels, model --spread--> how sure it is   pixels, reference --measure--> metrics under their contracts
 *
 * `image.rescale` is what the user said of a file that states no unit: [slope, intercept], HU = slope x value + intercept.
 */

import { bodyOf, call, callJson } from "../api.js";
import { jsonOf, readParts } from "../files/multipart.js";
import { readPlanes, writeNpy } from "../files/npy.js";

/** The unit's own values, as a file that states none. */
const HU_ITSELF = [1, 0];

/**
 * What a file is, without a model.
 * @param {{blob: Blob, rescale: [number, number] | null}} image
 * @param {{noise: boolean, signal?: AbortSignal}} options `noise`: read it, and say what auto would choose.
 * @returns {Promise<{about: any, planes: import("./planes.js").Plane[]}>}
 */
export async function look(image, { noise, signal }) {
  const body = formOf(image, { noise: String(noise) });
  const answer = await call("v1/images", { method: "POST", body, accept: "multipart/mixed", signal });
  const buffer = await bodyOf(answer, "arrayBuffer");
  const [about, pixels] = readParts(buffer, answer.headers.get("Content-Type"));
  return { about: jsonOf(buffer, about), planes: readPlanes(buffer, pixels.start) };
}

/**
 * A file, restored at full strength, in the unit of its values and not rounded.
 * @param {{blob: Blob, rescale: [number, number] | null}} image
 * @param {string} model ref.
 * @returns {Promise<{planes: import("./planes.js").Plane[], model: string, precision: string, warning: string}>}
 */
export async function restore(image, model, signal) {
  const answer = await call("v1/reconstructions", {
    method: "POST",
    body: formOf(image, { model }),
    accept: "application/x-npy",
    signal,
  });
  const { headers } = answer;
  return {
    planes: readPlanes(await bodyOf(answer, "arrayBuffer")),
    model: headers.get("Clearslice-Model"),
    precision: headers.get("Clearslice-Precision"),
    warning: headers.get("Clearslice-Warning") ?? "",
  };
}

/**
 * How sure a model is of each pixel: half the width of its interval, or its sigma.
 * @param {import("./planes.js").Plane} plane the degraded image.
 * @param {string} unit
 * @param {{ref: string, outputs: string[]}} model `outputs`: lower and upper, or sigma.
 * @returns {Promise<import("./planes.js").Plane>}
 */
export async function spread(plane, unit, { ref, outputs }, signal) {
  const body = formOf(inUnit(plane, unit), { model: ref, outputs: ["restored", ...outputs].join(",") });
  const answer = await call("v1/reconstructions", { method: "POST", body, accept: "multipart/mixed", signal });
  const buffer = await bodyOf(answer, "arrayBuffer");
  const parts = readParts(buffer, answer.headers.get("Content-Type"));
  const of = (name) => readPlanes(buffer, parts.find(({ headers }) => headers.get("Clearslice-Output") === name).start)[0];
  if (outputs.includes("sigma")) return of("sigma");
  const [lower, upper] = [of("lower"), of("upper")];
  return { ...lower, data: upper.data.map((value, index) => (value - lower.data[index]) / 2) };
}

/**
 * A file, restored, as a file.
 * @param {{blob: Blob, rescale: [number, number] | null}} image
 * @param {{model: string, strength: number, type: string}} how `type`: its media type.
 * @returns {Promise<{blob: Blob, model: string, clipped: number}>} `clipped`: pixels that did not fit the format.
 */
export async function file(image, { model, strength, type }) {
  const body = formOf(image, { model, strength: String(strength) });
  const answer = await call("v1/reconstructions", { method: "POST", body, accept: type });
  const { headers } = answer;
  return { blob: await bodyOf(answer, "blob"), model: headers.get("Clearslice-Model"), clipped: Number(headers.get("Clearslice-Clipped") ?? 0) };
}

/** Metrics of what is shown, against the reference: one entry for each contract. */
export async function measure(shown, reference, unit, signal) {
  const body = formOf(inUnit(shown, unit), {});
  body.set("reference", writeNpy(reference), "reference.npy");
  return (await callJson("v1/metrics", { method: "POST", body, signal })).metrics;
}

const inUnit = (plane, unit) => ({ blob: writeNpy(plane), rescale: unit === "HU" ? HU_ITSELF : null });

function formOf({ blob, rescale }, texts) {
  const form = new FormData();
  form.set("image", blob, "image");
  if (rescale) {
    form.set("rescale_slope", String(rescale[0]));
    form.set("rescale_intercept", String(rescale[1]));
  }
  for (const [name, value] of Object.entries(texts)) form.set(name, value);
  return form;
}

/** The list of models: which to run, what each is for, what auto would take and why, and what is in the image. */

import { byId, h, refill } from "../dom.js";
import { callJson } from "../api.js";

const MOST = 6;

/** Of the summaries of models that this project trains: what is known without reading. */
const PREAMBLE = /^.*Theory favours it for: /;

/**
 * The models of the store, as the list shows them.
 * @param {any} document what GET /v1/models answers.
 * @returns {import("./session.js").Model[]}
 */
function modelsOf({ models }) {
  return models.flatMap(({ name, labels, versions }) => {
    const meant = labels.stable ?? Math.max(...versions.map(({ version }) => version));
    const version = versions.find((each) => each.version === meant && each.unit);
    if (!version) return []; // its manifest cannot be read
    const { unit, summary, state } = version;
    return [{ name, ref: `${name}@${meant}`, unit, summary, state, outputs: [], coverage: null }];
  });
}

/** Reads the store into the session, and chooses the default model. */
export async function readStore(session) {
  const document = await callJson("v1/models");
  const store = modelsOf(document);
  const wanted = (document.default ?? "").split("@")[0];
  const found = store.find(({ name }) => name === wanted) ?? store[0];
  const kept = session.models.filter((ref) => store.some((model) => model.ref === ref));
  session.set({ store, defaultModel: found?.ref ?? "", models: kept.length || !found ? kept : [found.ref] });
  await readOutputs(session, store);
}

/** Which of the models say how sure they are: only their manifests tell. */
async function readOutputs(session, store) {
  const full = await Promise.all(
    store.map(async (model) => {
      const [name, version] = model.ref.split("@");
      const { manifest } = await callJson(`v1/models/${name}/versions/${version}`);
      const outputs = manifest.signatures.with_uncertainty?.outputs ?? [];
      return { ...model, outputs: outputs.filter((output) => output !== "restored"), coverage: manifest.intervals?.coverage ?? null };
    }),
  );
  session.set({ store: full });
}

/** @param {import("./session.js").Session} session */
export function start(session) {
  session.addEventListener("change", ({ names }) => {
    if (["store", "models", "study", "loaded", "about"].some((name) => names.has(name))) show(session);
  });
  show(session);
}

function show(session) {
  const chosen = session.chosen();
  const auto = session.study?.auto?.model ?? null;
  const models = session.usable().map((model) => ({
    ...model,
    checked: chosen.includes(model.ref),
    marks: [model.ref === session.defaultModel && "default", model.ref === auto && "auto"].filter(Boolean),
  }));
  const offer = models.some(({ ref, checked }) => ref === auto && !checked) ? auto : null;
  const seen = { models, offer, full: chosen.length >= MOST, empty: session.store.length === 0 };
  refill(byId("model-list"), seen, () => list(seen, session));
  about(session);
}

function list({ models, offer, full, empty }, session) {
  const nothing = empty ? "Models appear here." : "No model of this store takes this unit.";
  return [
    models.length === 0 && h("p", { class: "soft" }, nothing),
    offer && h("button", { type: "button", id: "take-auto", onclick: () => session.set({ models: [offer] }) }, `Take what auto chooses: ${offer}`),
    models.map((model) => row(model, full, session)),
    full && h("p", { class: "soft" }, `${MOST} at once is the most.`),
  ];
}

function row({ ref, name, summary, state, checked, marks }, full, session) {
  const box = h("input", { type: "checkbox", checked, disabled: !checked && full, dataset: { ref } });
  box.addEventListener("change", () => toggle(session, ref, box.checked));
  const chips = marks.map((mark) => h("span", { class: `chip ${mark === "auto" ? "good" : ""}` }, mark));
  const words = `${summary}${state === "loaded" ? "" : " It is loaded first, which takes some seconds."}`;
  return h("label", { title: `${ref}: ${words}` }, box, h("span", {}, name, chips, checked && h("span", { class: "soft summary" }, summary.replace(PREAMBLE, ""))));
}

function toggle(session, ref, on) {
  const models = on ? [...session.models, ref] : session.models.filter((each) => each !== ref);
  session.set({ models: session.store.map((model) => model.ref).filter((each) => models.includes(each)) });
  if (on) session.retry(); // what failed before may work now
}

/** What the service found in the image. */
function about(session) {
  const { study } = session;
  byId("about").hidden = !study?.about;
  if (!study?.about) return;
  const { format, unit, rows, columns, spacing, instance } = session.image()?.about ?? study.about;
  const facts = [
    ["Format", format.toUpperCase()],
    ["Size", `${rows} × ${columns}${spacing ? `, ${spacing.map((mm) => Number(mm.toPrecision(3))).join(" × ")} mm` : ""}`],
    ["Unit", unit],
    instance?.kernel && ["Kernel", instance.kernel],
    instance?.slice_thickness && ["Thickness", `${instance.slice_thickness} mm`],
    instance?.derived && ["Note", "it is itself derived from other images"],
    ...noiseFacts(study.noise, unit),
  ].filter(Boolean);
  const { auto } = study;
  const middle = study.slices.length > 1 ? " (in the middle of the series)" : "";
  refill(byId("about-image"), [facts, auto, middle], () => [
    h("dl", { class: "facts" }, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
    auto && h("p", { class: "soft", id: "auto-reason" }, auto.model ? `auto takes ${auto.model}${middle}: ` : "auto: ", auto.reason),
  ]);
}

function noiseFacts(noise, unit) {
  if (!noise) return [];
  const number = (value, digits = 2) => (value == null ? "unknown" : Number(value.toPrecision(digits)));
  return [
    ["Noise", `${number(noise.level)}${unit === "HU" ? " HU" : ""}`],
    noise.correlation != null && ["Correlation", String(number(noise.correlation))],
    noise.impulses != null && noise.impulses > 0 && ["Lost pixels", `${number(100 * noise.impulses)} %`],
  ];
}

/** The list of models: which to run, what each is for, what auto would take and why, and what is in the image. */

import { byId, fill, h } from "./dom.js";
import { callJson } from "./api.js";

const MOST = 6;

/**
 * The models of the store, as the list shows them.
 * @param {any} document what GET /v1/models answers.
 * @returns {import("./session.js").Model[]}
 */
export function modelsOf({ models }) {
  return models.flatMap(({ name, labels, versions }) => {
    const meant = labels.stable ?? Math.max(...versions.map(({ version }) => version));
    const version = versions.find((each) => each.version === meant);
    if (!version || version.state === "refused") return [];
    const { unit, summary, state } = version;
    return [{ name, ref: `${name}@${meant}`, unit, summary, state, labels: Object.keys(labels), spread: [], coverage: null }];
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
  await readSpread(session, store);
}

/** Which of the models say how sure they are: only their manifests tell. */
async function readSpread(session, store) {
  const full = await Promise.all(
    store.map(async (model) => {
      const [name, version] = model.ref.split("@");
      const { manifest } = await callJson(`v1/models/${name}/versions/${version}`);
      const outputs = manifest.signatures.with_uncertainty?.outputs ?? [];
      return { ...model, spread: outputs.filter((output) => output !== "restored"), coverage: manifest.intervals?.coverage ?? null };
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
  const place = byId("model-list");
  const focused = document.activeElement?.dataset?.ref;
  const usable = session.usable();
  const auto = session.study?.auto;
  const full = session.models.length >= MOST;
  const adopted = auto?.model && session.models.includes(auto.model);
  fill(
    place,
    usable.length === 0 && h("p", { class: "soft" }, session.store.length ? "No model of this store takes this unit." : "Models appear here."),
    auto?.model && !adopted && usable.some(({ ref }) => ref === auto.model) &&
      h("button", { type: "button", id: "take-auto", onclick: () => session.set({ models: [auto.model] }) }, `Take what auto chooses: ${auto.model}`),
    usable.map((model) => {
      const checked = session.models.includes(model.ref);
      const box = h("input", { type: "checkbox", checked, disabled: !checked && full, dataset: { ref: model.ref } });
      box.addEventListener("change", () => toggle(session, model.ref, box.checked));
      return h(
        "label",
        { title: `${model.ref}: ${model.summary}${model.state === "loaded" ? "" : " It is loaded first, which takes some seconds."}` },
        box,
        h("span", {}, model.name, model.ref === session.defaultModel && h("span", { class: "chip" }, "default"), model.ref === auto?.model && h("span", { class: "chip good" }, "auto")),
      );
    }),
    full && h("p", { class: "soft" }, `${MOST} at once is the most.`),
  );
  if (focused) place.querySelector(`[data-ref="${CSS.escape(focused)}"]`)?.focus();
  about(session);
}

function toggle(session, ref, on) {
  const models = on ? [...session.models, ref] : session.models.filter((each) => each !== ref);
  session.set({ models: session.store.map((model) => model.ref).filter((each) => models.includes(each)) });
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
  fill(
    byId("about-image"),
    h("dl", { class: "facts" }, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
    study.auto && h("p", { class: "soft", id: "auto-reason" }, study.auto.model ? `auto takes ${study.auto.model}: ` : "auto: ", study.auto.reason),
  );
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

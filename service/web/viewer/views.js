/**
 * What each pane shows, from the state alone.
 *
 *     Session --viewsOf--> [{id, title, terms, scale, note, warning, waiting}]
 *
 * A view whose terms are null is still waited for, or failed; `waiting` says which in words.
 */

import { IMAGE } from "./loading.js";
import { blended, difference } from "./planes.js";
import { spreadOf } from "./session.js";
import { AMOUNT, ends, GREY, SIGNED } from "./shading.js";

/**
 * @typedef {{low: number, high: number, colours: Uint32Array, bar: boolean, unit: string}} Scale `bar`: with a colour bar.
 * @typedef {{id: string, title: string, terms: import("./planes.js").Terms | null, scale: Scale, note: string,
 *     warning: string, waiting: string, failed: boolean}} View `failed`: it may be asked for again.
 */

/** The images: as it came, restored by each model, and the truth. */
export function images(session) {
  const { study, strength, reference } = session;
  const image = session.image();
  const scale = greyOf(session);
  const view = (more) => ({ scale, note: "", warning: "", waiting: "", failed: false, terms: null, ...more });
  const degraded = view({
    id: "degraded",
    title: reference ? "Degraded" : "As it came",
    ...(image ? { terms: [[image.plane, 1]] } : waitingFor(session, IMAGE, "reading…")),
  });
  const restored = session.chosen().map((ref) => {
    const found = session.restored(ref);
    const title = (study.auto?.model === ref ? "auto: " : "") + (found?.model ?? ref);
    if (!found) return view({ id: ref, title, ...waitingFor(session, { kind: "restored", ref }, "restoring…") });
    return view({
      id: ref,
      title,
      note: `${strength < 1 ? `strength ${strength.toFixed(2)}, ` : ""}${found.precision}`,
      warning: found.warning,
      terms: image && blended(image.plane, found.plane, strength),
    });
  });
  if (!reference) return [degraded, ...restored];
  const { plane, waiting, failed = false } = session.truth();
  return [degraded, ...restored, view({ id: "reference", title: "Reference", terms: plane && [[plane, 1]], waiting, failed })];
}

/** What the models changed, or what is wrong with each: their differences from the base. */
function differences(session) {
  const all = images(session);
  const base = all.find(({ id }) => id === session.base) ?? all[0];
  const limit = limitOf(session);
  const scale = { low: -limit, high: limit, colours: SIGNED, bar: true, unit: session.study.about.unit };
  return all
    .filter(({ id }) => id !== base.id && id !== "reference")
    .map((view) => ({
      ...view,
      scale,
      id: `${view.id} - ${base.id}`,
      title: `${view.title} − ${base.title.toLowerCase()}`,
      terms: view.terms && base.terms && difference(view.terms, base.terms),
      waiting: view.waiting || base.waiting,
    }));
}

/** How sure the models are that say so. */
function spreads(session) {
  const scale = { low: 0, high: limitOf(session), colours: AMOUNT, bar: true, unit: session.study.about.unit };
  return session.sure().map((model) => {
    const found = session.loader.get(session.slice(), spreadOf(model));
    return {
      id: `${model.ref} spread`, title: spreadTitle(model), scale, note: "at full strength", warning: "", waiting: "", failed: false,
      ...(found ? { terms: [[found.plane, 1]] } : { terms: null, ...waitingFor(session, spreadOf(model), "restoring…") }),
    };
  });
}

const spreadTitle = ({ ref, outputs, coverage }) =>
  outputs.includes("sigma") ? `${ref}: expected error (σ)` : `${ref}: ± half of the ${Math.round(100 * coverage)} % interval`;

/** All panes of a mode with a pane for each view; the swipe has its own. */
export function viewsOf(session) {
  const shown = session.mode === "difference" ? differences(session) : images(session);
  return session.spread ? [...shown, ...spreads(session)] : shown;
}

const limitOf = ({ differenceScale, study }) => differenceScale[study.about.unit];

function greyOf({ window, study }) {
  const { unit } = study.about;
  const [low, high] = ends(window, unit);
  return { low, high, colours: GREY, bar: false, unit };
}

function waitingFor(session, what, otherwise) {
  const problem = session.loader.problem(session.slice(), what) ?? session.loader.paused;
  return { waiting: problem?.message ?? otherwise, failed: Boolean(problem) };
}

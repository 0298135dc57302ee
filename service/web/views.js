/**
 * What each pane shows, from the state alone.
 *
 *     Session --viewsOf--> [{id, title, terms, scale, note, warning, waiting}]
 *
 * A view whose terms are null is still waited for, or failed; `waiting` says which in words.
 */

import { blended, difference } from "./planes.js";
import { AMOUNT, ends, GREY, SIGNED } from "./shading.js";

const FIRST_SCALE = { HU: 50, relative: 0.1 };

/**
 * @typedef {{low: number, high: number, colours: Uint32Array, bar: boolean, unit: string}} Scale `bar`: with a colour bar.
 * @typedef {{id: string, title: string, terms: import("./planes.js").Terms | null, scale: Scale, note: string,
 *     warning: string, waiting: string}} View
 */

/** The images: as it came, restored by each model, and the truth. */
export function images(session) {
  const { study, strength } = session;
  const { unit } = study.about;
  const image = session.image();
  const scale = greyOf(session, unit);
  const degraded = {
    id: "degraded", title: session.reference ? "Degraded" : "As it came", scale, note: "", warning: "",
    terms: image && [[image.plane, 1]], waiting: image ? "" : waitingFor(session, null),
  };
  const restored = session.chosen().map((ref) => {
    const found = session.restored(ref);
    const chosen = session.study.auto?.model === ref ? "auto: " : "";
    return {
      id: ref, title: chosen + (found?.model ?? ref), scale,
      note: found ? `${strength < 1 ? `strength ${strength.toFixed(2)}, ` : ""}${found.precision}` : "",
      warning: found?.warning ?? "",
      terms: image && found && blended(image.plane, found.plane, strength),
      waiting: found ? "" : waitingFor(session, ref),
    };
  });
  const truth = session.reference && {
    id: "reference", title: "Reference", scale, note: "", warning: "",
    terms: session.truth() && [[session.truth(), 1]],
    waiting: session.truth() ? "" : session.referenceLoader.problem(session.reference.slices[session.index], null)?.message ?? "reading…",
  };
  return [degraded, ...restored, ...(truth ? [truth] : [])];
}

/** What the models changed, or what is wrong with each: their differences from the base. */
export function differences(session) {
  const all = images(session);
  const base = all.find(({ id }) => id === session.base) ?? all[0];
  const limit = session.differenceScale || FIRST_SCALE[session.study.about.unit];
  const scale = { low: -limit, high: limit, colours: SIGNED, bar: true, unit: session.study.about.unit };
  return all
    .filter(({ id }) => id !== base.id && id !== "reference")
    .map((view) => ({
      ...view, scale, id: `${view.id} - ${base.id}`, title: `${view.title} − ${base.title.toLowerCase()}`,
      terms: view.terms && base.terms && difference(view.terms, base.terms),
    }));
}

/** How sure the models are that say so. */
export function spreads(session, spreadOf) {
  const limit = session.differenceScale || FIRST_SCALE[session.study.about.unit];
  const scale = { low: 0, high: limit, colours: AMOUNT, bar: true, unit: session.study.about.unit };
  return session.store
    .filter(({ ref, spread }) => session.chosen().includes(ref) && spread.length > 0)
    .map((model) => {
      const { plane, problem } = spreadOf(model);
      return {
        id: `${model.ref} spread`, title: spreadTitle(model), scale, note: "at full strength", warning: "",
        terms: plane && [[plane, 1]], waiting: plane ? "" : problem || "restoring…",
      };
    });
}

const spreadTitle = ({ ref, spread, coverage }) =>
  spread.includes("sigma") ? `${ref}: expected error (σ)` : `${ref}: ± half of the ${Math.round(100 * coverage)} % interval`;

/** All panes of the present mode. */
export function viewsOf(session, spreadOf) {
  if (!session.study?.about) return [];
  const shown = session.mode === "difference" ? [...differences(session)] : images(session);
  return session.spread && session.mode !== "swipe" ? [...shown, ...spreads(session, spreadOf)] : shown;
}

function greyOf(session, unit) {
  const [low, high] = ends(session.window, unit);
  return { low, high, colours: GREY, bar: false, unit };
}

function waitingFor(session, ref) {
  const problem = session.loader.problem(session.slice(), ref);
  if (problem) return problem.message;
  return ref === null ? "reading…" : "restoring…";
}

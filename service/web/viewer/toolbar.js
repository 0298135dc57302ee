/** How to look: tool, mode, window, differences, zoom; and the slice. Controls show the state, and change it. */

import { fill, h, refill } from "../dom.js";
import { step } from "./gestures.js";
import { LEAST_WIDTH, PRESETS, RELATIVE_WINDOW } from "./shading.js";
import { positionOf } from "./study.js";
import { FIT } from "./viewport.js";

const TOOLS = [
  ["window", "Window", "Drag: left and right width, up and down centre (W)"],
  ["pan", "Pan", "Drag the image; also with the right button (P)"],
  ["zoom", "Zoom", "Drag up and down; also the wheel of single images, or two fingers (Z)"],
  ["region", "Region", "Drag an ellipse: mean, standard deviation, n (R)"],
  ["line", "Line", "Drag a line: its profile (L)"],
];
const MODES = [
  ["side", "Side by side", "Every image in a pane (V)"],
  ["swipe", "Swipe", "Two images in one pane, with an edge to drag (S)"],
  ["difference", "Differences", "What the models changed (D)"],
];

/**
 * @param {import("./session.js").Session} session
 * @param {import("./viewer.js").Viewer} viewer
 * @param {{toolbar: HTMLElement, slices: HTMLElement}} places
 */
export function start(session, viewer, { toolbar, slices }) {
  const groups = [
    pressable("Tool", TOOLS, "tool", session),
    pressable("Mode", MODES, "mode", session),
    windowing(session),
    swiping(session, viewer),
    differing(session),
    spreading(session),
    zooming(session),
  ];
  fill(toolbar, groups.map(({ element }) => element));
  const slider = slicing(session, slices);
  const show = () => [...groups, slider].forEach(({ show: each }) => each());
  session.addEventListener("change", ({ names }) => {
    if (!(names.size === 1 && names.has("cursor"))) show();
  });
  show();
}

function pressable(label, choices, field, session) {
  const buttons = choices.map(([value, name, help]) =>
    h("button", { type: "button", title: help, dataset: { value }, onclick: () => session.set({ [field]: value }) }, name),
  );
  return {
    element: h("div", { class: "group", role: "group", "aria-label": label }, buttons),
    show: () => buttons.forEach((each) => each.setAttribute("aria-pressed", String(each.dataset.value === session[field]))),
  };
}

function windowing(session) {
  const center = h("input", { type: "number", "aria-label": "Window centre", step: "any" });
  const width = h("input", { type: "number", "aria-label": "Window width", step: "any", min: "0" });
  const presets = h("select", { "aria-label": "Window preset" });
  const typed = () => {
    const [middle, wide] = [center.valueAsNumber, width.valueAsNumber];
    if (Number.isFinite(middle) && wide >= LEAST_WIDTH[session.study.about.unit]) session.set({ window: { center: middle, width: wide } });
  };
  center.addEventListener("change", typed);
  width.addEventListener("change", typed);
  presets.addEventListener("change", () => {
    const chosen = offered(session)[Number(presets.value)];
    if (chosen) session.set({ window: { center: chosen.center, width: chosen.width } });
  });
  return {
    element: h("div", { class: "group" }, presets, h("label", {}, "C ", center), h("label", {}, "W ", width)),
    show: () => {
      const about = session.study?.about;
      for (const each of [center, width, presets]) each.disabled = !about;
      if (!about) return;
      const all = offered(session);
      refill(presets, all, () => [h("option", { value: "" }, "Window…"), all.map(optionOf)]);
      const at = all.findIndex((each) => each.center === session.window.center && each.width === session.window.width);
      presets.value = at < 0 ? "" : String(at);
      if (document.activeElement !== center) center.value = shown(session.window.center);
      if (document.activeElement !== width) width.value = shown(session.window.width);
    },
  };
}

const optionOf = ({ name, center, width }, index) => h("option", { value: String(index) }, `${name} (${shown(center)} / ${shown(width)})`);

/** Windows of the file, then those of the field. */
function offered({ study: { about } }) {
  const own = about.windows.map((window, index) => ({ ...window, name: window.explanation || (about.windows.length > 1 ? `File ${index + 1}` : "File") }));
  return [...own, ...(about.unit === "HU" ? PRESETS : [RELATIVE_WINDOW])];
}

const shown = (value) => String(Number(value.toPrecision(6)));

function swiping(session, viewer) {
  const [left, right] = ["Left", "Right"].map((side) => h("select", { "aria-label": `${side} of the edge` }));
  const edge = h("input", { type: "range", min: "0", max: "1", step: "0.01", "aria-label": "Edge" });
  left.addEventListener("change", () => session.set({ left: left.value }));
  right.addEventListener("change", () => session.set({ right: right.value }));
  edge.addEventListener("input", () => session.set({ edge: edge.valueAsNumber }));
  const element = h("div", { class: "group" }, left, edge, right);
  return {
    element,
    show: () => {
      element.hidden = session.mode !== "swipe";
      if (element.hidden) return;
      const sides = viewer.sides();
      options(left, sides.all, sides.left?.id);
      options(right, sides.all, sides.right?.id);
      edge.value = String(session.edge);
    },
  };
}

function options(select, sides, value) {
  refill(select, sides.map(({ id, title }) => [id, title]), () => sides.map(({ id, title }) => h("option", { value: id }, title)));
  select.value = value ?? "";
}

function differing(session) {
  const base = h("select", { "aria-label": "Difference from" });
  const scale = h("input", { type: "number", "aria-label": "Scale of the differences", min: "0", step: "any" });
  base.addEventListener("change", () => session.set({ base: base.value }));
  scale.addEventListener("change", () => {
    const { unit } = session.study.about;
    if (scale.valueAsNumber > 0) session.set({ differenceScale: { ...session.differenceScale, [unit]: scale.valueAsNumber } });
  });
  const element = h("div", { class: "group" }, h("label", {}, "from ", base), h("label", {}, "± ", scale));
  return {
    element,
    show: () => {
      const about = session.study?.about;
      element.hidden = !about || (session.mode !== "difference" && !session.spread);
      if (element.hidden) return;
      options(base, [{ id: "degraded", title: "degraded" }, ...(session.reference ? [{ id: "reference", title: "reference" }] : [])], session.base);
      base.parentElement.hidden = session.mode !== "difference";
      if (document.activeElement !== scale) scale.value = String(session.differenceScale[about.unit]);
    },
  };
}

function spreading(session) {
  const box = h("button", { type: "button", title: "How sure models are that say so", onclick: () => session.set({ spread: !session.spread }) }, "How sure");
  return {
    element: box,
    show: () => {
      box.hidden = session.sure().length === 0;
      box.setAttribute("aria-pressed", String(session.spread));
    },
  };
}

function zooming(session) {
  const fit = h("button", { type: "button", title: "Fit the pane (0)", onclick: () => session.set({ viewport: FIT }) }, "Fit");
  const smooth = h("button", { type: "button", title: "Interpolate between pixels", onclick: () => session.set({ smooth: !session.smooth }) }, "Smooth");
  return {
    element: h("div", { class: "group", role: "group", "aria-label": "Zoom" }, fit, smooth),
    show: () => smooth.setAttribute("aria-pressed", String(session.smooth)),
  };
}

function slicing(session, place) {
  const range = h("input", { type: "range", min: "1", step: "1", "aria-label": "Slice" });
  const which = h("output", {});
  const all = h("button", { type: "button", title: "Restore all slices now; else those near the one that is shown", onclick: () => session.set({ everything: true }) }, "Restore all");
  const progress = h("progress", { max: 1, "aria-label": "Restored slices" });
  range.addEventListener("input", () => session.set({ index: range.valueAsNumber - 1 }));
  fill(place, h("button", { type: "button", "aria-label": "Slice before", onclick: () => step(session, -1) }, "‹"), range, h("button", { type: "button", "aria-label": "Next slice", onclick: () => step(session, 1) }, "›"), which, progress, all);
  return {
    show: () => {
      const count = session.study?.slices.length ?? 0;
      place.hidden = count < 2;
      if (place.hidden) return;
      range.max = String(count);
      range.value = String(session.index + 1);
      const position = positionOf(session.slice());
      which.textContent = `${session.index + 1} / ${count}${position === null ? "" : `  ${position.toFixed(1)} mm`}`;
      const done = session.chosen().length ? session.done() : 0;
      progress.value = done / count;
      progress.title = `${done} of ${count} slices are restored`;
      all.hidden = session.everything || done === count || session.chosen().length === 0;
    },
  };
}

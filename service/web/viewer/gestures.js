/**
 * Mouse, touch and keys -> changes of the state.
 *
 *     left drag: the tool   right or middle drag: pan   wheel: slices, or zoom of a single image   two fingers: zoom, pan
 *     keys: see KEYS, which the help shows
 */

import { mapping, moved, zoomed, FIT } from "./viewport.js";
import { LEAST_WIDTH, PRESETS } from "./shading.js";

const WHEEL_ZOOM = 1.15;
const NOTCH = 100;
const LINE = 33;
const DRAG_ZOOM = 1.01;
const KEY_PAN = 40;
const EDGE_STEP = 0.02;
const EDGE_REACH = 14;
const LEFT_BUTTON = 0;
const MANY = 10;

/** What each key does: [keys as shown, what it does]. */
export const KEYS = [
  ["W, P, Z, R, L", "tool: window, pan, zoom, region, line"],
  ["1 2 3 4", "window: soft tissue, lung, bone, brain"],
  ["V, S, D", "side by side, swipe, differences"],
  ["Page Up, Page Down, Home, End", "slices; the wheel does it, too"],
  ["← ↑ → ↓", "move the cursor by a pixel, with Shift by ten; with Alt pan"],
  ["Enter", "with region or line: first corner or end, then the other, at the cursor"],
  ["+ − 0", "zoom in, out, fit"],
  ["[ ]  { }", "window narrower, wider; darker, brighter"],
  ["< >", "swipe: move the edge"],
  ["Esc", "take region, line and cursor away"],
];

/**
 * Listens to the panes.
 * @param {import("./session.js").Session} session
 * @param {import("./viewer.js").Viewer} viewer
 */
export function listen(session, viewer) {
  const { element } = viewer;
  const fingers = new Map();
  let drag = null;
  let turned = 0; // of the wheel, in notches that have not become a slice yet

  element.addEventListener("contextmenu", (event) => event.preventDefault());
  element.addEventListener("pointerdown", (event) => {
    const place = placeOf(event, viewer);
    if (!place) return;
    element.focus({ preventScroll: true });
    event.target.setPointerCapture?.(event.pointerId);
    fingers.set(event.pointerId, place);
    drag = fingers.size > 1 ? null : { pane: place.pane, id: event.pointerId, kind: dragKind(event, place, session), last: place };
    if (drag) begin(drag, session);
  });
  element.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse" && event.buttons === 0) drag = fingers.delete(event.pointerId) ? null : drag;
    const captured = fingers.get(event.pointerId);
    const place = placeOf(event, viewer, captured?.pane);
    if (!place) return;
    if (captured && fingers.size === 2) pinch(fingers, event.pointerId, place, session, viewer.image());
    else if (drag?.id === event.pointerId) {
      move(drag, place, session);
      drag.last = place;
    }
    if (captured) fingers.set(event.pointerId, place);
    else session.set({ cursor: inside(place.point, viewer.image()) });
  });
  for (const kind of ["pointerup", "pointercancel", "lostpointercapture"]) {
    element.addEventListener(kind, (event) => {
      fingers.delete(event.pointerId);
      if (drag?.id !== event.pointerId) return;
      finish(drag, session);
      drag = null;
    });
  }
  element.addEventListener("pointerleave", (event) => {
    if (event.pointerType === "mouse" && !drag) session.set({ cursor: null });
  });
  element.addEventListener("dblclick", () => session.set({ viewport: FIT }));
  element.addEventListener(
    "wheel",
    (event) => {
      const place = placeOf(event, viewer);
      if (!place) return;
      event.preventDefault();
      const down = (event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? LINE : 1)) / NOTCH;
      if (session.study.slices.length === 1 || event.ctrlKey) {
        session.set({ viewport: zoomed(place.map, WHEEL_ZOOM ** -down, place.at) });
        return;
      }
      turned = Math.sign(down) === Math.sign(turned) ? turned + down : down;
      const slices = Math.trunc(turned);
      turned -= slices;
      step(session, slices);
    },
    { passive: false },
  );
  element.addEventListener("keydown", (event) => {
    if (viewer.image() && pressed(event, session, viewer)) event.preventDefault();
  });
}

/** Goes some slices on, as far as there are any. */
export function step(session, by) {
  const last = session.study.slices.length - 1;
  session.set({ index: Math.min(last, Math.max(0, session.index + by)) });
}

/** Where an event is: the pane, its mapping, the point on screen and in the image. */
function placeOf(event, viewer, pane = viewer.paneOf(event.target)) {
  const image = viewer.image();
  if (!image || !pane) return null;
  const box = pane.canvas.getBoundingClientRect();
  const at = { x: event.clientX - box.left, y: event.clientY - box.top };
  const map = pane.map(image, viewer.session.viewport);
  return { pane, map, at, point: map.toImage(at), width: box.width };
}

function dragKind(event, place, session) {
  if (event.pointerType === "mouse" && event.button !== LEFT_BUTTON) return "pan";
  if (session.mode === "swipe" && Math.abs(place.at.x - session.edge * place.width) < EDGE_REACH) return "edge";
  return session.tool;
}

function begin(drag, session) {
  const { point } = drag.last;
  session.set({ cursor: point });
  if (drag.kind === "region") session.set({ region: { from: point, to: point } });
  if (drag.kind === "line") session.set({ line: { from: point, to: point } });
}

/** A press that did not move marks nothing. */
function finish({ kind }, session) {
  const mark = session[kind];
  if (["region", "line"].includes(kind) && mark && mark.from.x === mark.to.x && mark.from.y === mark.to.y) session.set({ [kind]: null });
}

function move(drag, place, session) {
  const [dx, dy] = [place.at.x - drag.last.at.x, place.at.y - drag.last.at.y];
  const moves = {
    window: () => widen(session, dx * windowStep(session), dy * windowStep(session)),
    pan: () => session.set({ viewport: moved(place.map, dx, dy) }),
    zoom: () => session.set({ viewport: zoomed(place.map, DRAG_ZOOM ** -dy, { x: place.width / 2, y: place.pane.canvas.clientHeight / 2 }) }),
    edge: () => session.set({ edge: Math.min(1, Math.max(0, place.at.x / place.width)) }),
    region: () => session.set({ region: { ...session.region, to: place.point }, cursor: place.point }),
    line: () => session.set({ line: { ...session.line, to: place.point }, cursor: place.point }),
  };
  moves[drag.kind]();
}

function pinch(fingers, id, place, session, image) {
  const [other] = [...fingers].filter(([each]) => each !== id).map(([, each]) => each);
  const before = fingers.get(id);
  const apart = ({ at }) => Math.hypot(at.x - other.at.x, at.y - other.at.y);
  const middle = { x: (place.at.x + other.at.x) / 2, y: (place.at.y + other.at.y) / 2 };
  const next = zoomed(place.map, apart(place) / Math.max(1, apart(before)), middle);
  const pane = { width: place.width, height: place.pane.canvas.clientHeight };
  session.set({ viewport: moved(mapping(next, image, pane), (place.at.x - before.at.x) / 2, (place.at.y - before.at.y) / 2) });
}

/** Width and centre, changed by some units. */
function widen(session, width, center) {
  const least = LEAST_WIDTH[session.study.about.unit];
  const { window } = session;
  session.set({ window: { center: window.center + center, width: Math.max(least, window.width + width) } });
}

/** A screen pixel of dragging, in the unit: finer in narrow windows. */
const windowStep = ({ window }) => Math.max(window.width / 400, 0.0005);

function pressed(event, session, viewer) {
  const { unit } = session.study.about;
  const coarse = windowStep(session) * MANY * 2;
  const tool = { w: "window", p: "pan", z: "zoom", r: "region", l: "line" }[event.key.toLowerCase()];
  const mode = { v: "side", s: "swipe", d: "difference" }[event.key.toLowerCase()];
  if (event.ctrlKey || event.metaKey) return false;
  if (tool) return done(session.set({ tool, region: closed(session.region), line: closed(session.line) }));
  if (mode) return done(session.set({ mode }));
  if (/^[1-4]$/.test(event.key) && unit === "HU") return done(session.set({ window: PRESETS[Number(event.key) - 1] }));
  const keys = {
    PageDown: () => step(session, 1),
    PageUp: () => step(session, -1),
    Home: () => step(session, -Infinity),
    End: () => step(session, Infinity),
    "+": () => zoomBy(session, viewer, WHEEL_ZOOM),
    "=": () => zoomBy(session, viewer, WHEEL_ZOOM),
    "-": () => zoomBy(session, viewer, 1 / WHEEL_ZOOM),
    0: () => session.set({ viewport: FIT }),
    "[": () => widen(session, -coarse, 0),
    "]": () => widen(session, coarse, 0),
    "{": () => widen(session, 0, coarse),
    "}": () => widen(session, 0, -coarse),
    "<": () => session.set({ edge: Math.max(0, session.edge - EDGE_STEP) }),
    ">": () => session.set({ edge: Math.min(1, session.edge + EDGE_STEP) }),
    Escape: () => session.set({ region: null, line: null, cursor: null }),
    Enter: () => mark(session),
    ArrowLeft: () => arrow(event, session, viewer, -1, 0),
    ArrowRight: () => arrow(event, session, viewer, 1, 0),
    ArrowUp: () => arrow(event, session, viewer, 0, -1),
    ArrowDown: () => arrow(event, session, viewer, 0, 1),
  };
  return event.key in keys && done(keys[event.key]());
}

const done = () => true;

/** A region or line that arrows go on changing no more. */
const closed = (mark) => (mark?.open ? { from: mark.from, to: mark.to } : mark);

function zoomBy(session, viewer, factor) {
  const [pane] = viewer.panes;
  if (!pane) return;
  const map = pane.map(viewer.image(), session.viewport);
  const at = session.cursor ? map.toScreen(session.cursor) : { x: pane.canvas.clientWidth / 2, y: pane.canvas.clientHeight / 2 };
  session.set({ viewport: zoomed(map, factor, at) });
}

function arrow(event, session, viewer, dx, dy) {
  const image = viewer.image();
  if (event.altKey) {
    if (viewer.panes.length === 0) return;
    session.set({ viewport: moved(viewer.panes[0].map(image, session.viewport), -dx * KEY_PAN, -dy * KEY_PAN) });
    return;
  }
  const by = event.shiftKey ? MANY : 1;
  const from = session.cursor ?? { x: (image.columns - 1) / 2, y: (image.rows - 1) / 2 };
  const within = (value, size) => Math.min(size - 1, Math.max(0, Math.round(value)));
  const cursor = { x: within(from.x + dx * by, image.columns), y: within(from.y + dy * by, image.rows) };
  const open = session.region?.open ? "region" : session.line?.open ? "line" : null;
  session.set({ cursor, ...(open ? { [open]: { ...session[open], to: cursor } } : {}) });
}

/** The first Enter begins a region or line at the cursor, the second ends it. */
function mark(session) {
  const { tool, cursor } = session;
  if (!cursor || !["region", "line"].includes(tool)) return;
  const there = session[tool];
  session.set({ [tool]: there?.open ? { from: there.from, to: cursor } : { from: cursor, to: cursor, open: true } });
}

const inside = (point, { rows, columns }) =>
  point.x > -0.5 && point.y > -0.5 && point.x < columns - 0.5 && point.y < rows - 0.5 ? point : null;

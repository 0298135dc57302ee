/**
 * The panes: one for each view, or one with an edge; drawn at most once a frame.
 *
 *     Session change --> views --> panes (kept by their place) --> draw --> "drawn"
 */

import { spread } from "./asks.js";
import { fill, h } from "./dom.js";
import { Pane } from "./pane.js";
import { images, viewsOf } from "./views.js";

const GAP = 4;

export class Viewer extends EventTarget {
  /**
   * @param {import("./session.js").Session} session
   * @param {HTMLElement} element that the panes fill.
   */
  constructor(session, element) {
    super();
    this.session = session;
    this.element = element;
    this.panes = [];
    this._spreads = new WeakMap();
    this._due = 0;
    session.addEventListener("change", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(element);
  }

  /** Draws before the next frame. */
  draw() {
    this._due ||= requestAnimationFrame(() => {
      this._due = 0;
      this._draw();
    });
  }

  /** Size and spacing of what is open, or null. */
  image() {
    const about = this.session.study?.about;
    return about ? { rows: about.rows, columns: about.columns, spacing: about.spacing } : null;
  }

  /** The pane below a target of an event, or the first. */
  paneOf(target) {
    return this.panes.find((pane) => pane.element.contains(target)) ?? this.panes[0];
  }

  /** What is shown now, in the unit: {view, values}. */
  shown() {
    return this.panes.flatMap((pane) => pane.shown());
  }

  /** What may be left and right of the edge. */
  sides() {
    const { session } = this;
    if (!session.study?.about) return [];
    return images(session);
  }

  _draw() {
    const image = this.image();
    const groups = image ? this._groups() : [];
    if (groups.length !== this.panes.length) {
      this.panes = groups.map((_, index) => this.panes[index] ?? new Pane());
      fill(this.element, this.panes.map((pane) => pane.element));
    }
    this._arrange(image, groups.length);
    groups.forEach((views, index) => this.panes[index].show(views));
    for (const pane of this.panes) pane.draw(image, this.session);
    this.element.classList.toggle("swipe", this.session.mode === "swipe");
    this.element.dataset.tool = this.session.tool;
    this.dispatchEvent(new Event("drawn"));
  }

  _groups() {
    const { session } = this;
    if (session.mode !== "swipe") return viewsOf(session, (model) => this._spread(model)).map((view) => [view]);
    const sides = this.sides();
    const find = (id, otherwise) => sides.find((view) => view.id === id) ?? otherwise;
    const left = find(session.left, sides[0]);
    return [[left, find(session.right, sides.find((view) => view !== left) ?? left)]];
  }

  /** As many columns as make the images largest. */
  _arrange(image, count) {
    if (!image) {
      const empty = this.session.study ? "" : "Nothing is open. Drop a file anywhere on this page, or try the sample.";
      fill(this.element, h("p", { class: "empty" }, empty));
      this.panes = [];
      return;
    }
    const { clientWidth: width, clientHeight: height } = this.element;
    const aspect = (image.columns * (image.spacing?.[1] ?? 1)) / (image.rows * (image.spacing?.[0] ?? 1));
    let best = { side: -1, columns: 1 };
    for (let columns = 1; columns <= count; columns++) {
      const rows = Math.ceil(count / columns);
      const side = Math.min((width - GAP * (columns - 1)) / columns / aspect, (height - GAP * (rows - 1)) / rows);
      if (side > best.side) best = { side, columns };
    }
    const wanted = `repeat(${best.columns}, minmax(0, 1fr))`;
    if (this.element.style.gridTemplateColumns !== wanted) this.element.style.gridTemplateColumns = wanted;
  }

  /** How sure a model is of the slice: asked once, and kept as long as the slice's pixels. */
  _spread(model) {
    const image = this.session.image();
    if (!image) return { plane: null, problem: "" };
    const known = this._spreads.get(image.plane) ?? {};
    this._spreads.set(image.plane, known);
    if (!known[model.ref]) {
      known[model.ref] = { plane: null, problem: "" };
      spread(image.plane, this.session.study.about.unit, { ref: model.ref, outputs: model.spread }).then(
        (plane) => this._arrived(known[model.ref], { plane }),
        (error) => this._arrived(known[model.ref], { problem: error.message }),
      );
    }
    return known[model.ref];
  }

  _arrived(entry, found) {
    Object.assign(entry, found);
    this.draw();
  }
}

/**
 * The panes: one for each view, or one with an edge; drawn at most once a frame.
 *
 *     Session change --> views --> panes (kept by their place) --> draw --> "drawn"
 */

import { fill, h } from "../dom.js";
import { Pane } from "./pane.js";
import { images, viewsOf } from "./views.js";

const GAP = 4;
const NOTHING_OPEN = "Nothing is open. Drop a file anywhere on this page, or try the sample.";
const NO_MODEL = "There is no difference to show: choose a model.";

export class Viewer extends EventTarget {
  /**
   * @param {import("./session.js").Session} session
   * @param {HTMLElement} element that the panes fill.
   */
  constructor(session, element) {
    super();
    this.session = session;
    this.element = element;
    /** @type {Pane[]} */
    this.panes = [];
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

  /** The pane below a target of an event, or else the first. */
  paneOf(target) {
    return this.panes.find((pane) => pane.element.contains(target)) ?? this.panes[0];
  }

  /** What is shown now, in the unit: {view, values, version}. */
  shown() {
    return this.panes.flatMap((pane) => pane.shown());
  }

  /** What may be left and right of the edge: all images, and which of them are. */
  sides() {
    const all = this.image() ? images(this.session) : [];
    const left = all.find(({ id }) => id === this.session.left) ?? all[0];
    const right = all.find(({ id }) => id === this.session.right) ?? all.find((view) => view !== left) ?? left;
    return { all, left, right };
  }

  _draw() {
    const image = this.image();
    const groups = image ? this._groups() : [];
    if (groups.length !== this.panes.length || groups.length === 0) this._place(groups.length);
    this._arrange(image, groups.length);
    groups.forEach((views, index) => this.panes[index].show(views));
    for (const pane of this.panes) pane.draw(image, this.session);
    this.element.classList.toggle("swipe", this.session.mode === "swipe");
    this.element.dataset.tool = this.session.tool;
    this.dispatchEvent(new Event("drawn"));
  }

  _groups() {
    if (this.session.mode !== "swipe") return viewsOf(this.session).map((view) => [view]);
    const { left, right } = this.sides();
    return [[left, right]];
  }

  _place(count) {
    const retry = () => this.session.retry();
    this.panes = Array.from({ length: count }, (_, index) => this.panes[index] ?? new Pane(retry));
    const words = this.image() ? NO_MODEL : this.session.study ? "" : NOTHING_OPEN;
    fill(this.element, count ? this.panes.map((pane) => pane.element) : h("p", { class: "empty" }, words));
  }

  /** As many columns as make the images largest. */
  _arrange(image, count) {
    const { clientWidth: width, clientHeight: height } = this.element;
    const aspect = image ? (image.columns * (image.spacing?.[1] ?? 1)) / (image.rows * (image.spacing?.[0] ?? 1)) : 1;
    let best = { side: -1, columns: 1 };
    for (let columns = 1; columns <= count; columns++) {
      const rows = Math.ceil(count / columns);
      const side = Math.min((width - GAP * (columns - 1)) / columns / aspect, (height - GAP * (rows - 1)) / rows);
      if (side > best.side) best = { side, columns };
    }
    const wanted = `repeat(${best.columns}, minmax(0, 1fr))`;
    if (this.element.style.gridTemplateColumns !== wanted) this.element.style.gridTemplateColumns = wanted;
  }
}

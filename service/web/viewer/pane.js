/**
 * One pane: a canvas with one view, or two with an edge between them, and what is drawn over it.
 *
 *     View --combine--> values --shade--> bitmap (when either changed) --drawImage--> canvas (each time)
 */

import { h } from "../dom.js";
import { combine, valueAt } from "./planes.js";
import { shade } from "./shading.js";
import { mapping } from "./viewport.js";

const LARGEST_BITMAP = 4096;
const MARK = "#ffd33d";
const CROSS = "#4cc2ff";

export class Pane {
  /** @param {() => void} retry asks again for what could not be had. */
  constructor(retry) {
    this.canvas = h("canvas", { class: "canvas" });
    this.title = h("span", { class: "title" });
    this.note = h("span", { class: "soft" });
    this.value = h("output", { class: "value" });
    this.warning = h("p", { class: "pane-warning", hidden: true });
    this.waiting = h("p", { class: "pane-waiting", hidden: true });
    this.retry = h("button", { type: "button", class: "pane-retry", hidden: true, onclick: retry }, "Try again");
    this.bar = colourBar();
    this.element = h(
      "figure",
      { class: "pane" },
      this.canvas,
      h("figcaption", {}, this.title, " ", this.note),
      this.value,
      this.bar.element,
      this.warning,
      this.waiting,
      this.retry,
    );
    this.layers = [new Layer(), new Layer()];
    this.views = [];
  }

  /** Sets what is shown: one view, or two for a swipe. */
  show(views) {
    this.views = views;
    views.forEach((view, index) => this.layers[index].update(view));
    const [first, second] = views;
    this.element.dataset.view = views.map(({ id }) => id).join(" | ");
    text(this.title, second ? `${first.title} | ${second.title}` : first.title);
    text(this.note, second ? "" : first.note);
    notice(this.warning, views.map(({ warning }) => warning).filter(Boolean).join("; "));
    notice(this.waiting, views.map(({ waiting }) => waiting).filter(Boolean).join("; "));
    this.retry.hidden = !views.some(({ failed }) => failed);
    this.bar.show(first.scale);
  }

  /** The mapping between image and screen, in CSS pixels of the canvas. */
  map(image, viewport) {
    return mapping(viewport, image, { width: this.canvas.clientWidth, height: this.canvas.clientHeight });
  }

  /**
   * Draws all anew.
   * @param {{rows: number, columns: number, spacing: [number, number] | null}} image
   * @param {import("./session.js").Session} session
   */
  draw(image, session) {
    const { canvas } = this;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const ratio = window.devicePixelRatio || 1;
    const [across, down] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== across || canvas.height !== down) Object.assign(canvas, { width: across, height: down });
    const context = canvas.getContext("2d", { alpha: false });
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, width, height);
    context.imageSmoothingEnabled = session.smooth;
    context.imageSmoothingQuality = "high";
    const map = this.map(image, session.viewport);
    const edge = this.views.length > 1 ? width * session.edge : width;
    this._paint(context, this.layers[0], image, map, [0, edge, height]);
    if (this.views.length > 1) {
      this._paint(context, this.layers[1], image, map, [edge, width, height]);
      context.fillStyle = CROSS;
      context.fillRect(edge - 1, 0, 2, height);
      context.fillRect(edge - 5, height / 2 - 18, 10, 36);
    }
    drawMarks(context, map, session);
    this.tell(session, map);
  }

  /** The value below the cursor. */
  tell(session, map) {
    const { cursor } = session;
    const right = this.views.length > 1 && cursor && map.toScreen(cursor).x > this.canvas.clientWidth * session.edge;
    const layer = this.layers[right ? 1 : 0];
    const found = cursor && layer.values ? valueAt(layer.values, layer.size, cursor) : null;
    text(this.value, found === null ? "" : valueText(found, this.views[0].scale.unit));
  }

  /** What the views show, in the unit: {view, values, version} of those that are there. */
  shown() {
    const all = this.views.map((view, index) => ({ view, values: this.layers[index].values, version: this.layers[index].version }));
    return all.filter(({ values }) => values);
  }

  _paint(context, layer, image, map, [from, to, height]) {
    if (!layer.values || to <= from) return;
    const corner = map.toScreen({ x: -0.5, y: -0.5 });
    context.save();
    context.beginPath();
    context.rect(from, 0, to - from, height);
    context.clip();
    context.drawImage(layer.bitmap, corner.x, corner.y, image.columns * map.across, image.rows * map.down);
    context.restore();
  }
}

let versions = 0;

/** Values of a view and their colours, kept until either changes. */
class Layer {
  constructor() {
    this.bitmap = document.createElement("canvas");
    this.values = null;
    this.size = null;
    /** Another number for other values, of any layer. */
    this.version = 0;
    this._terms = null;
    this._shaded = "";
    this._image = null;
  }

  update({ terms, scale }) {
    if (!terms) {
      this.values = this._terms = null;
      return;
    }
    const fresh = !this._terms || !same(terms, this._terms);
    if (fresh) {
      this.values = combine(terms, this.values);
      this._terms = terms;
      this.version = ++versions;
      this.size = terms[0][0];
    }
    const shaded = `${scale.low} ${scale.high} ${scale.bar}`;
    if (!fresh && shaded === this._shaded) return;
    this._shaded = shaded;
    const stride = Math.ceil(Math.max(this.size.rows, this.size.columns) / LARGEST_BITMAP);
    this._image = shade(this.values, this.size, { ...scale, stride }, this._image);
    const { bitmap } = this;
    if (bitmap.width !== this._image.width || bitmap.height !== this._image.height) {
      Object.assign(bitmap, { width: this._image.width, height: this._image.height });
    }
    bitmap.getContext("2d").putImageData(this._image, 0, 0);
  }
}

/** A value with as many digits as its unit deserves. */
export const valueText = (value, unit) => (unit === "HU" ? `${value.toFixed(1)} HU` : value.toFixed(4));

function drawMarks(context, map, { region, line, cursor }) {
  context.lineWidth = 1.5;
  context.strokeStyle = MARK;
  if (region) {
    const [a, b] = [map.toScreen(region.from), map.toScreen(region.to)];
    context.beginPath();
    context.ellipse((a.x + b.x) / 2, (a.y + b.y) / 2, Math.abs(b.x - a.x) / 2, Math.abs(b.y - a.y) / 2, 0, 0, 2 * Math.PI);
    context.stroke();
  }
  if (line) {
    const [a, b] = [map.toScreen(line.from), map.toScreen(line.to)];
    context.beginPath();
    context.moveTo(a.x, a.y);
    context.lineTo(b.x, b.y);
    context.stroke();
  }
  if (cursor) {
    const at = map.toScreen(cursor);
    context.strokeStyle = CROSS;
    context.lineWidth = 1;
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(at.x + 4 * dx, at.y + 4 * dy);
      context.lineTo(at.x + 11 * dx, at.y + 11 * dy);
    }
    context.stroke();
  }
}

function colourBar() {
  const canvas = h("canvas", { width: 1, height: 256 });
  const [top, bottom] = [h("span"), h("span")];
  const element = h("div", { class: "colour-bar", hidden: true }, top, canvas, bottom);
  let drawn = null;
  return {
    element,
    show({ bar, low, high, colours, unit }) {
      element.hidden = !bar;
      if (!bar) return;
      text(top, `${high > 0 ? "+" : ""}${Number(high.toPrecision(3))} ${unit === "HU" ? "HU" : ""}`);
      text(bottom, String(Number(low.toPrecision(3))));
      if (drawn === colours) return;
      drawn = colours;
      canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(colours.slice().reverse().buffer), 1), 0, 0);
    },
  };
}

const same = (a, b) => a.length === b.length && a.every(([plane, weight], at) => plane === b[at][0] && weight === b[at][1]);

function text(element, wanted) {
  if (element.textContent !== wanted) element.textContent = wanted;
}

function notice(element, wanted) {
  element.hidden = !wanted;
  text(element, wanted);
}

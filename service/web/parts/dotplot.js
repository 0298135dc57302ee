/**
 * Small plots of a score: where it was, where it is, and how sure that is. All rows of a table share one axis.
 *
 *     rows --axisOf--> {low, high} --dotPlot--> svg:  o--------|===*===|      o degraded, * restored, | | its interval
 */

import { svg } from "../dom.js";

const WIDTH = 220;
const HEIGHT = 20;
const AXIS_HEIGHT = 12;
const EDGE = 6;

/**
 * The range that holds every value, and ticks at round numbers.
 * @param {number[]} values finite ones count.
 * @returns {{low: number, high: number, ticks: number[], step: number} | null} null where there is nothing to show.
 */
export function axisOf(values) {
  const finite = values.filter(Number.isFinite);
  if (!finite.length) return null;
  const [least, most] = [Math.min(...finite), Math.max(...finite)];
  const span = most - least || Math.abs(most) || 1;
  const step = roundStep(span / 3);
  const [low, high] = [Math.floor(least / step) * step, Math.ceil(most / step) * step];
  const count = Math.round((high - low) / step);
  const ticks = Array.from({ length: count + 1 }, (_, index) => low + index * step);
  return { low, high: high === low ? low + step : high, step, ticks };
}

/**
 * One row.
 * @param {{degraded: number, restored: number, interval: number[] | null}} score
 * @param {{low: number, high: number}} axis
 * @param {string} words the same, for those who do not see it.
 */
export function dotPlot({ degraded, restored, interval }, axis, words) {
  const x = (value) => placed(value, axis);
  const middle = HEIGHT / 2;
  const parts = axis.ticks.map((tick) => svg("line", { class: "grid", x1: x(tick), x2: x(tick), y1: 0, y2: HEIGHT }));
  if (Number.isFinite(degraded) && Number.isFinite(restored)) {
    parts.push(svg("line", { class: "way", x1: x(degraded), x2: x(restored), y1: middle, y2: middle }));
  }
  if (interval) parts.push(...bar(x(interval[0]), x(interval[1]), middle));
  if (Number.isFinite(degraded)) parts.push(svg("circle", { class: "degraded", cx: x(degraded), cy: middle, r: 3.5 }));
  if (Number.isFinite(restored)) parts.push(svg("circle", { class: "restored", cx: x(restored), cy: middle, r: 4 }));
  return drawing(HEIGHT, { role: "img", "aria-label": words }, parts);
}

/** The numbers of the axis, to stand above the rows. */
export function axisLabels(axis) {
  const digits = Math.max(0, -Math.floor(Math.log10(axis.step) + 1e-9));
  const texts = axis.ticks.map((tick, index) => {
    const anchor = index === 0 ? "start" : index === axis.ticks.length - 1 ? "end" : "middle";
    const shift = anchor === "start" ? -EDGE : anchor === "end" ? EDGE : 0;
    return svg("text", { x: placed(tick, axis) + shift, y: 10, "text-anchor": anchor }, tick.toFixed(digits));
  });
  return drawing(AXIS_HEIGHT, { "aria-hidden": "true" }, texts);
}

function drawing(height, attributes, parts) {
  const size = { viewBox: `0 0 ${WIDTH} ${height}`, width: WIDTH, height };
  return svg("svg", { class: "dotplot", ...size, ...attributes }, parts);
}

function bar(from, to, middle) {
  const end = (x) => svg("line", { class: "interval", x1: x, x2: x, y1: middle - 4, y2: middle + 4 });
  return [svg("line", { class: "interval", x1: from, x2: to, y1: middle, y2: middle }), end(from), end(to)];
}

function placed(value, { low, high }) {
  return Math.round((EDGE + ((value - low) / (high - low)) * (WIDTH - 2 * EDGE)) * 100) / 100;
}

function roundStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((each) => each * power >= rough - 1e-12);
}

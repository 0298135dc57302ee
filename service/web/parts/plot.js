/** Curves over one axis, as SVG: values along a line, for each image. */

import { h, svg } from "../dom.js";

const [WIDTH, HEIGHT] = [640, 190];
const [LEFT, RIGHT, TOP, BOTTOM] = [58, 8, 8, 30];
const TICKS = 5;

/** Of curves, in order; told apart in both themes and by most who see fewer colours. */
const COLOURS = ["#8b949e", "#4cc2ff", "#f0883e", "#56d364", "#d2a8ff", "#f778ba", "#e3b341", "#ff7b72"];

/**
 * @param {{title: string, at: number[], value: number[]}[]} curves
 * @param {{across: string, up: string}} axes what they are, with their units.
 * @returns {HTMLElement} a figure with a legend.
 */
export function curves(curves, { across, up }) {
  const all = curves.filter(({ at }) => at.length > 1);
  const [x, y] = [range(all.flatMap(({ at }) => at)), range(all.flatMap(({ value }) => value))];
  const right = (value) => LEFT + ((value - x.low) / (x.high - x.low)) * (WIDTH - LEFT - RIGHT);
  const top = (value) => HEIGHT - BOTTOM - ((value - y.low) / (y.high - y.low)) * (HEIGHT - TOP - BOTTOM);
  const lines = all.map(({ at, value }, index) =>
    svg("polyline", {
      points: at.map((place, each) => `${right(place).toFixed(1)},${top(value[each]).toFixed(1)}`).join(" "),
      fill: "none", stroke: COLOURS[index % COLOURS.length], "stroke-width": 1.6,
    }),
  );
  const grid = ticks(y).map((value) => [
    svg("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: top(value), y2: top(value), class: "grid" }),
    svg("text", { x: LEFT - 6, y: top(value) + 4, "text-anchor": "end" }, shown(value)),
  ]);
  const feet = ticks(x).map((value) => svg("text", { x: right(value), y: HEIGHT - BOTTOM + 15, "text-anchor": "middle" }, shown(value)));
  const names = [
    svg("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 1, "text-anchor": "middle" }, across),
    svg("text", { x: 11, y: (HEIGHT - BOTTOM) / 2, transform: `rotate(-90 11 ${(HEIGHT - BOTTOM) / 2})`, "text-anchor": "middle" }, up),
  ];
  return h(
    "figure",
    { class: "plot" },
    svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${up} over ${across}: ${all.map(({ title }) => title).join(", ")}` }, grid, feet, names, lines),
    h("figcaption", {}, all.map(({ title }, index) => h("span", { class: "key" }, swatch(index), title))),
  );
}

function swatch(index) {
  return svg("svg", { width: 18, height: 8, "aria-hidden": "true" }, svg("line", { x1: 0, x2: 18, y1: 4, y2: 4, stroke: COLOURS[index % COLOURS.length], "stroke-width": 3 }));
}

function range(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return low < high ? { low, high } : { low: low - 1, high: low + 1 };
}

function ticks({ low, high }) {
  const rough = (high - low) / TICKS;
  const power = 10 ** Math.floor(Math.log10(rough));
  const size = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough);
  const first = Math.ceil(low / size);
  return Array.from({ length: Math.floor(high / size) - first + 1 }, (_, index) => (first + index) * size);
}

const shown = (value) => String(Number(value.toPrecision(4)));

/**
 * Arithmetic of images in their unit: what a pane shows, and what is measured in it.
 *
 * @typedef {{data: Float32Array | Int16Array, rows: number, columns: number}} Plane an image, row by row, in HU or 0..1.
 * @typedef {[Plane, number][]} Terms planes and their weights: a pane shows their sum.
 * @typedef {{x: number, y: number}} Point in pixels; (0, 0) is the middle of the first pixel.
 */

const INT16 = [-32768, 32767];
const ROUNDING = 1e-9;

/** image + strength x (restored - image), as the service blends. */
export const blended = (image, restored, strength) => [
  [image, 1 - strength],
  [restored, strength],
];

/** What is left of `terms` after `others` are taken away. */
export const difference = (terms, others) => [...terms, ...others.map(([plane, weight]) => [plane, -weight])];

/**
 * The weighted sum.
 * @param {Terms} terms of planes of one size.
 * @param {Float32Array} [into] is written and returned, if it has the size.
 * @returns {Float32Array}
 * @throws {RangeError} they have different sizes.
 */
export function combine(terms, into) {
  const counted = merged(terms);
  const [[{ rows, columns, data }]] = terms;
  const size = data.length;
  if (terms.some(([plane]) => plane.rows !== rows || plane.columns !== columns)) throw new RangeError("planes of different sizes");
  const sum = into?.length === size ? into : new Float32Array(size);
  const [first, second, third] = counted;
  if (counted.length === 1 && first[1] === 1) sum.set(first[0].data);
  else if (counted.length <= 3) addThree(sum, first, second, third);
  else throw new RangeError("more planes than a pane ever shows");
  return sum;
}

/** Weights of the same plane added up, planes of no weight left out: strength 0 is the image, bit for bit. */
function merged(terms) {
  const weights = new Map();
  for (const [plane, weight] of terms) weights.set(plane, (weights.get(plane) ?? 0) + weight);
  return [...weights].filter(([, weight]) => weight !== 0);
}

function addThree(sum, first, second, third) {
  const none = [{ data: sum }, 0];
  const [[{ data: a }, p], [{ data: b }, q], [{ data: c }, r]] = [first ?? none, second ?? none, third ?? none];
  if (!first) sum.fill(0);
  else if (!second) for (let index = 0; index < sum.length; index++) sum[index] = p * a[index];
  else if (!third) for (let index = 0; index < sum.length; index++) sum[index] = p * a[index] + q * b[index];
  else for (let index = 0; index < sum.length; index++) sum[index] = p * a[index] + q * b[index] + r * c[index];
}

/** Half the memory for a plane whose values are all whole numbers of 16 bits, as those of most CT files; else itself. */
export function compact(plane) {
  const { data } = plane;
  for (let index = 0; index < data.length; index++) {
    const value = data[index];
    if (!Number.isInteger(value) || value < INT16[0] || value > INT16[1]) return plane;
  }
  return { ...plane, data: Int16Array.from(data) };
}

/** Bytes of memory. */
export const bytesOf = (plane) => plane.data.byteLength;

/** The value of the pixel at a point, or null outside. */
export function valueAt(values, { rows, columns }, { x, y }) {
  const [column, row] = [Math.round(x), Math.round(y)];
  return row >= 0 && row < rows && column >= 0 && column < columns ? values[row * columns + column] : null;
}

/**
 * Mean, standard deviation (n - 1), extremes and number of the pixels whose middle lies in an ellipse.
 * @param {ArrayLike<number>} values row by row.
 * @param {{rows: number, columns: number}} size
 * @param {{from: Point, to: Point}} region corners of the rectangle that the ellipse fits into.
 * @returns {{n: number, mean: number, sd: number, min: number, max: number} | null} null where no pixel is inside.
 */
export function statistics(values, { rows, columns }, { from, to }) {
  const [left, right] = [Math.min(from.x, to.x), Math.max(from.x, to.x)];
  const [top, bottom] = [Math.min(from.y, to.y), Math.max(from.y, to.y)];
  const [middleX, middleY] = [(left + right) / 2, (top + bottom) / 2];
  const [radiusX, radiusY] = [(right - left) / 2 || 0.5, (bottom - top) / 2 || 0.5];
  let [n, mean, squares, min, max] = [0, 0, 0, Infinity, -Infinity];
  for (let row = Math.max(0, Math.ceil(middleY - radiusY)); row <= Math.min(rows - 1, middleY + radiusY); row++) {
    for (let column = Math.max(0, Math.ceil(middleX - radiusX)); column <= Math.min(columns - 1, middleX + radiusX); column++) {
      if (((column - middleX) / radiusX) ** 2 + ((row - middleY) / radiusY) ** 2 > 1) continue;
      const value = values[row * columns + column];
      const step = value - mean; // Welford's recurrence: no sum of squares that cancels
      mean += step / ++n;
      squares += step * (value - mean);
      min = Math.min(min, value);
      max = Math.max(max, value);
    }
  }
  return n === 0 ? null : { n, mean, sd: n > 1 ? Math.sqrt(squares / (n - 1)) : 0, min, max };
}

/**
 * Values along a line, one a pixel, interpolated bilinearly.
 * @param {ArrayLike<number>} values row by row.
 * @param {{rows: number, columns: number}} size
 * @param {{from: Point, to: Point}} line its ends; what lies outside is left out.
 * @param {[number, number] | null} spacing between rows and between columns, in mm.
 * @returns {{at: number[], value: number[]}} the distance from the first end, in mm or pixels, and the value there.
 */
export function profile(values, { rows, columns }, { from, to }, spacing = null) {
  const [betweenRows, betweenColumns] = spacing ?? [1, 1];
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const length = Math.hypot(dx * betweenColumns, dy * betweenRows);
  const steps = Math.max(1, Math.round(Math.hypot(dx, dy)));
  const found = { at: [], value: [] };
  for (let step = 0; step <= steps; step++) {
    const [x, y] = [within(from.x + (dx * step) / steps, columns - 1), within(from.y + (dy * step) / steps, rows - 1)];
    if (x === null || y === null) continue;
    const [column, row] = [Math.min(Math.floor(x), Math.max(0, columns - 2)), Math.min(Math.floor(y), Math.max(0, rows - 2))];
    const at = row * columns + column;
    const [right, below] = [columns > 1 ? 1 : 0, rows > 1 ? columns : 0];
    const upper = mix(values[at], values[at + right], x - column);
    const lower = mix(values[at + below], values[at + below + right], x - column);
    found.at.push((length * step) / steps);
    found.value.push(mix(upper, lower, y - row));
  }
  return found;
}

/** A coordinate from 0 to `last`, or null outside; what rounding put beyond an end is at the end. */
const within = (value, last) => (value < -ROUNDING || value > last + ROUNDING ? null : Math.min(last, Math.max(0, value)));

const mix = (a, b, share) => a + (b - a) * share;

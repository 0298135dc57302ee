/**
 * From values to colours: window (grey) and scales (differences, uncertainty).
 *
 * DICOM's linear window (PS3.3 C.11.2.1.2): black at or below centre - 0.5 - (width - 1) / 2, white above centre - 0.5 +
 * (width - 1) / 2.
 */

/** @typedef {{center: number, width: number}} Window in the image's unit. */

export const PRESETS = [
  { name: "Soft tissue", center: 40, width: 400 },
  { name: "Lung", center: -600, width: 1500 },
  { name: "Bone", center: 480, width: 2500 },
  { name: "Brain", center: 40, width: 80 },
];

/** What a window of relative images is, and the least width that one can be given. */
export const RELATIVE_WINDOW = { name: "All", center: 0.5, width: 1 };
export const LEAST_WIDTH = { HU: 1, relative: 0.004 };

const LEVELS = 256;

export const GREY = table((share) => [share, share, share]);

/** Blue below, black at nothing, orange above: the sign can be told without telling red from green. */
export const SIGNED = table((share) => {
  const signed = 2 * share - 1;
  const strong = Math.sqrt(Math.abs(signed));
  return signed < 0 ? [0.25 * strong, 0.62 * strong, strong] : [strong, 0.58 * strong, 0.12 * strong];
});

/** Black, violet, orange, white: brightness rises throughout. */
export const AMOUNT = table((share) => [Math.min(1, 1.7 * share), Math.max(0, 1.6 * share - 0.5), share < 0.5 ? 1.1 * share : Math.max(0.25, 2.6 * share - 1.6)]);

/** The ends of a window: what is black, and what is white. */
export const ends = ({ center, width }, unit) =>
  unit === "HU" ? [center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2] : [center - width / 2, center + width / 2];

/**
 * Colours of values.
 * @param {ArrayLike<number>} values row by row.
 * @param {{rows: number, columns: number}} size
 * @param {{low: number, high: number, colours: Uint32Array, stride?: number}} how `low` has the first colour, `high` the
 *     last; every `stride`-th pixel of both directions is taken.
 * @param {ImageData} [into] is written and returned, if it has the size.
 * @returns {ImageData}
 */
export function shade(values, { rows, columns }, { low, high, colours, stride = 1 }, into) {
  const [height, width] = [Math.ceil(rows / stride), Math.ceil(columns / stride)];
  const image = into?.width === width && into?.height === height ? into : new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const scale = (LEVELS - 1) / Math.max(high - low, Number.EPSILON);
  const offset = 0.5 - low * scale;
  let at = 0;
  for (let row = 0; row < rows; row += stride) {
    const end = (row + 1) * columns;
    for (let index = row * columns; index < end; index += stride) {
      const level = values[index] * scale + offset;
      pixels[at++] = colours[level < 0 ? 0 : level >= LEVELS ? LEVELS - 1 : level | 0];
    }
  }
  return image;
}

function table(colour) {
  return Uint32Array.from({ length: LEVELS }, (_, level) => {
    const [red, green, blue] = colour(level / (LEVELS - 1)).map((share) => Math.round(255 * Math.min(1, share)));
    return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0; // bytes of a canvas on little-endian machines
  });
}

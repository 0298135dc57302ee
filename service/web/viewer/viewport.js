/**
 * Which part of the images is seen, the same in all panes: a point in the middle, and how large a pixel is.
 *
 * Screen coordinates are CSS pixels from a pane's upper left corner. Pixels that are not square in mm are drawn that way.
 */

const MOST_ZOOM = 64;
const LEAST_OF_FIT = 0.25;

/** @typedef {{x: number, y: number, zoom: number | null}} Viewport the image point in the middle; screen pixels a column,
 *     or null to fit the pane. */

export const FIT = Object.freeze({ x: 0, y: 0, zoom: null });

/**
 * The mapping of one pane.
 * @param {Viewport} viewport
 * @param {{rows: number, columns: number, spacing: [number, number] | null}} image
 * @param {{width: number, height: number}} pane in CSS pixels.
 */
export function mapping(viewport, image, pane) {
  const aspect = image.spacing ? image.spacing[0] / image.spacing[1] : 1;
  const fit = Math.min(pane.width / image.columns, pane.height / (image.rows * aspect));
  const fits = viewport.zoom === null;
  const across = fits ? fit : viewport.zoom;
  const middle = fits ? { x: (image.columns - 1) / 2, y: (image.rows - 1) / 2 } : viewport;
  const down = across * aspect;
  return {
    across,
    down,
    fit,
    middle,
    toScreen: ({ x, y }) => ({ x: pane.width / 2 + (x - middle.x) * across, y: pane.height / 2 + (y - middle.y) * down }),
    toImage: ({ x, y }) => ({ x: middle.x + (x - pane.width / 2) / across, y: middle.y + (y - pane.height / 2) / down }),
  };
}

/** Zoomed by a factor, the image point below a screen point staying where it is. */
export function zoomed(map, factor, at) {
  const zoom = Math.min(MOST_ZOOM, Math.max(map.fit * LEAST_OF_FIT, map.across * factor));
  const fixed = map.toImage(at);
  const share = map.across / zoom;
  return { x: fixed.x + (map.middle.x - fixed.x) * share, y: fixed.y + (map.middle.y - fixed.y) * share, zoom };
}

/** Moved by some screen pixels. */
export const moved = (map, dx, dy) => ({ x: map.middle.x - dx / map.across, y: map.middle.y - dy / map.down, zoom: map.across });

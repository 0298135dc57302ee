/**
 * What main.js needs of a view: its work goes on only while it is shown, and begins anew with another key.
 *
 *     tab opened --shown--> again.start      tab left --hidden--> again.stop      a key is given --> rekeyed, again.start
 */

import { keys } from "../api.js";

/**
 * @param {{start: () => void, stop: () => void}} again as `repeating` gives it.
 * @param {{rekeyed?: () => void, left?: () => void}} [more] what else there is to do when the key changed, or when the
 *     tab is left.
 */
export function viewOf(again, { rekeyed = () => {}, left = () => {} } = {}) {
  let visible = false;
  keys.addEventListener("changed", () => {
    rekeyed();
    if (visible) again.start();
  });
  return {
    shown() {
      visible = true;
      again.start();
    },
    hidden() {
      visible = false;
      again.stop();
      left();
    },
  };
}

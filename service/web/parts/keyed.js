/**
 * A list that changes under its reader's eyes: rows are kept, so that focus, scroll and what was opened stay.
 *
 *     items --by key--> known: update its row    new: make one    gone: remove it
 */

/**
 * @param {HTMLElement} parent holds nothing but the rows.
 * @param {(item) => string} keyOf
 * @param {(item) => {element: HTMLElement, update: (item) => void}} make `update` is also called for a new row.
 * @returns {(items: Object[]) => void} shows these, in this order.
 */
export function keyedRows(parent, keyOf, make) {
  const rows = new Map();
  return (items) => {
    const keys = new Set(items.map(keyOf));
    for (const [key, row] of rows) {
      if (keys.has(key)) continue;
      row.element.remove();
      rows.delete(key);
    }
    items.forEach((item, index) => {
      const key = keyOf(item);
      if (!rows.has(key)) rows.set(key, make(item));
      const row = rows.get(key);
      row.update(item);
      const there = parent.children[index] ?? null;
      if (there !== row.element) parent.insertBefore(row.element, there);
    });
  };
}

/** A function that does its work only when what it is given has changed. */
export function whenChanged(work) {
  let before;
  return (value) => {
    const now = JSON.stringify(value);
    if (now !== before) work(value);
    before = now;
  };
}

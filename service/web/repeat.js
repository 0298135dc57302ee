/**
 * Work that is done again and again while somebody looks: never twice at once, and not while the tab is in the back.
 *
 *     start --> work --> wait --> work ...      stop: what is under way is aborted
 *                 '-> false: nothing more is to be asked, until `now`
 */

/**
 * @param {(signal: AbortSignal) => Promise<boolean | void>} work handles its own errors.
 * @param {number} seconds from the end of one to the next.
 */
export function repeating(work, seconds) {
  let turn = null;

  async function run(mine) {
    while (turn === mine) {
      const goOn = document.hidden || (await work(mine.signal).catch(ignoreAbort)) !== false;
      if (!goOn || turn !== mine) return;
      await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    }
  }

  const stop = () => {
    turn?.abort();
    turn = null;
  };
  const start = () => {
    stop();
    turn = new AbortController();
    run(turn);
  };
  return { start, stop, now: () => turn && start() };
}

function ignoreAbort(error) {
  if (error.name !== "AbortError") throw error;
}

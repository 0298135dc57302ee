/**
 * Work that is done again and again while somebody looks: never twice at once, and not while the tab is in the back.
 *
 *     start --> work --> wait --> work ...      stop: what is under way is aborted
 *                 '-> false: nothing more is to be asked, until `now`
 */

/**
 * @param {(signal: AbortSignal) => Promise<boolean | void>} work shows what it is answered; what else it throws is
 *     a defect, which ends nothing.
 * @param {number} seconds from the end of one to the next.
 */
export function repeating(work, seconds) {
  let turn = null;

  async function run(mine) {
    while (turn === mine) {
      const goOn = document.hidden || (await work(mine.signal).catch(tell)) !== false;
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

function tell(error) {
  if (error.name !== "AbortError") console.error(error);
}

"""The page in Chromium: from a dropped file to its picture, and how fast a series scrolls.

    slice, series --file input--> page --its own clock--> seconds      docs/benchmarks/page.md

Server, browser and this program share the cores; Chromium draws without a GPU.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from bench.pacs import make_series
from bench.server import serving
from training.provenance import machine, processor

REPORT = Path(__file__).parents[1] / "docs" / "benchmarks" / "page.md"
CHROMIUM = Path("/usr/bin/chromium")
SLICES = 300
REPEATS = 10
WINDOW = (1440, 900)
MODELS = ("ct-l2", "ct-l1-ssim", "ct-huber")
TIMEOUT_MS = 600_000
POLL_MS = 20

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)

STOPWATCH = """
document.getElementById("file").addEventListener("change", () => {
  const began = performance.now();
  const taken = (window.taken = {});
  let gone = false;
  const look = () => {
    const panes = [...document.querySelectorAll(".pane")];
    gone ||= panes.length === 0;
    for (const pane of gone ? panes : []) {
      if (pane.querySelector(".pane-waiting").hidden) taken[pane.dataset.view] ??= performance.now() - began;
    }
    if (Object.keys(taken).length < 2) requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}, { capture: true });
"""
"""When each pane has its picture, in milliseconds after the file was chosen, by the page's frames."""

SCROLL = """async (count) => {
  const panes = document.getElementById("panes");
  const frame = () => new Promise(requestAnimationFrame);
  panes.focus();
  panes.dispatchEvent(new KeyboardEvent("keydown", { key: "Home", bubbles: true }));
  await frame();
  let missing = 0, longest = 0, last = performance.now();
  const began = last;
  for (let slice = 1; slice < count; slice++) {
    panes.dispatchEvent(new KeyboardEvent("keydown", { key: "PageDown", bubbles: true }));
    await frame();
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
    missing += [...document.querySelectorAll(".pane-waiting")].filter((each) => !each.hidden).length;
  }
  return { rate: (1000 * (count - 1)) / (last - began), longest, missing };
}"""
"""Goes through all slices, one a frame: slices a second, the longest frame in ms, and pictures that were not there."""


@contextmanager
def browser(window: tuple[int, int] = WINDOW) -> Iterator[Page]:
    """A page of a fresh Chromium, in a window of that width and height."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        page = chromium.new_page(viewport={"width": window[0], "height": window[1]})
        page.set_default_timeout(TIMEOUT_MS)
        yield page
        chromium.close()


def until(page: Page, condition: str) -> None:
    """Waits for something to become true in the page, whose policy allows no polling from inside."""
    for _ in range(TIMEOUT_MS // POLL_MS):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(POLL_MS)
    raise SystemExit(f"the page never came to {condition}")


def choose(page: Page, models: Sequence[str]) -> None:
    """Checks exactly these models."""
    boxes = page.locator("#model-list input")
    boxes.first.wait_for()
    for box in boxes.all():
        box.set_checked(str(box.get_attribute("data-ref")).split("@")[0] in models)


def first_pictures(page: Page, file: Path) -> tuple[float, float]:
    """Milliseconds from the choice of a slice to its picture, and to the restored one; medians."""
    choose(page, MODELS[:1])
    page.evaluate(STOPWATCH)
    came, restored = [], []
    for _ in range(REPEATS + 1):
        page.evaluate("window.taken = {}")
        page.set_input_files("#file", file)
        until(page, "Object.keys(window.taken).length === 2")
        taken = page.evaluate("window.taken")
        came.append(taken.pop("degraded"))
        restored.append(next(iter(taken.values())))
    return statistics.median(came[1:]), statistics.median(restored[1:])


def series(page: Page, archive: Path, count: int) -> tuple[float, list[str]]:
    """Seconds until all slices of an archive are read, and rows of how they scroll."""
    choose(page, MODELS[:1])
    page.set_input_files("#file", archive)
    began = page.evaluate("performance.now()")
    until(
        page, f"document.querySelector('#slices input')?.max == {count} && !document.querySelector('#opened progress')"
    )
    read = (page.evaluate("performance.now()") - began) / 1000
    rows = []
    for number in (1, len(MODELS)):
        choose(page, MODELS[:number])
        if page.locator("text=Restore all").is_visible():
            page.click("text=Restore all")
        until(page, "document.querySelector('#slices progress').value === 1")
        found = page.evaluate(SCROLL, count)
        rows.append(f"| {1 + number} | {found['rate']:.0f} | {found['longest']:.0f} | {found['missing']} |")
    return read, rows


def report(count: int) -> str:
    """Measures all of it, and writes the page."""
    with tempfile.TemporaryDirectory() as folder:
        files = make_series(Path(folder), count)
        archive = Path(folder, "series.zip")
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as zipped:
            for path in files:
                zipped.write(path, path.name)
        size = archive.stat().st_size / 1e6
        with serving(None) as server, browser() as page:
            page.goto(server.url)
            came, restored = first_pictures(page, files[0])
            read, rows = series(page, archive, count)
    where = f"{datetime.now(UTC):%Y-%m-%d}, {processor()}, {machine()['cores']} cores"
    return f"""# The page

`python -m bench.page --write`, {where}. Server and browser share the cores, and Chromium (headless,
{WINDOW[0]} x {WINDOW[1]}) draws without a GPU.

A slice of 512 x 512, from the choice of the file to its picture: **{came:.0f} ms**; to the one restored by {MODELS[0]}:
**{restored:.0f} ms** (medians of {REPEATS}).

A zip file of {count} such slices ({size:.0f} MB) is read whole after {read:.1f} s; its first picture is there long
before. Then through all slices, one a frame, with everything restored:

| panes | slices/s | longest frame, ms | pictures that were not there |
|---|---|---|---|
{chr(10).join(rows)}

More than 60 slices a second cannot be seen: the browser draws no more frames.
"""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=SLICES)
    parser.add_argument("--write", action="store_true", help=f"write {REPORT.name}")
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    page = report(arguments.slices)
    print(page)  # noqa: T201 - that is what it is for
    if arguments.write:
        REPORT.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()

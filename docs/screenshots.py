"""Takes the pictures of docs/page.md in Chromium, of the sample of the page: `make screenshots`."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from bench.page import browser, choose, until
from bench.server import serving

PICTURES = Path(__file__).parent / "pictures"
LAPTOP, TABLET = (1440, 900), (820, 1180)
QUALITY = 82


def main() -> None:
    """Writes docs/pictures/page.webp, page-models.webp and page-tablet.webp."""
    with serving(None) as server:
        with browser(LAPTOP) as page:
            page.goto(server.url)
            laptop(page)
        with browser(TABLET) as page:
            page.goto(server.url)
            tablet(page)


def laptop(page: Page) -> None:
    """Three models, the full dose, a region, a profile; then the scores of all models."""
    choose(page, ("ct-l2", "ct-l1-ssim", "ct-quantile"))
    page.click("#sample")
    settled(page, panes=5)
    page.get_by_label("Window width").fill("250")
    page.get_by_label("Window width").press("Enter")
    page.get_by_role("button", name="Region").click()
    drag(page, (0.36, 0.38), (0.45, 0.49))
    page.get_by_role("button", name="Line", exact=True).click()
    drag(page, (0.2, 0.56), (0.62, 0.56))
    until(page, "document.querySelectorAll('#metrics-card tbody tr').length === 8")
    shoot(page, "page")
    page.get_by_role("link", name="Models").click()
    page.get_by_role("button", name="Scores of all models").click()
    until(page, "document.querySelectorAll('#compare tbody tr').length > 0")
    shoot(page, "page-models")


def tablet(page: Page) -> None:
    """A swipe between the low dose and its reconstruction."""
    choose(page, ("ct-l2",))
    page.click("#sample")
    settled(page, panes=3)
    page.get_by_role("button", name="Swipe").click()
    settled(page, panes=1)
    until(page, "document.querySelectorAll('#metrics-card tbody tr').length > 0")
    shoot(page, "page-tablet")


def settled(page: Page, panes: int) -> None:
    """Waits until so many panes have their pictures."""
    until(
        page,
        f"[...document.querySelectorAll('.pane-waiting')].filter((each) => each.hidden).length === {panes}"
        f" && document.querySelectorAll('.pane').length === {panes}",
    )


def drag(page: Page, begin: tuple[float, float], end: tuple[float, float]) -> None:
    """Between two places of the first pane, as shares of its sides."""
    box = page.locator(".canvas").first.bounding_box()
    assert box is not None  # noqa: S101 - it is seen
    (x0, y0), (x1, y1) = ((box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (begin, end))
    page.mouse.move(x0, y0)
    page.mouse.down()
    page.mouse.move(x1, y1)
    page.mouse.up()


def shoot(page: Page, name: str) -> None:
    """Writes what is seen."""
    page.wait_for_timeout(300)
    Image.open(io.BytesIO(page.screenshot())).save(PICTURES / f"{name}.webp", quality=QUALITY, method=6)


if __name__ == "__main__":
    main()

"""What a reader of the page does and sees, in words of the page."""

from __future__ import annotations

import contextlib
import time
import zipfile

from playwright.sync_api import expect

PATIENCE_S = 60
POLL_MS = 20


def until(page, expression, argument=None):
    end = time.monotonic() + PATIENCE_S
    while not page.evaluate(expression, argument):
        assert time.monotonic() < end, f"the page never came to {expression}"
        page.wait_for_timeout(POLL_MS)


class Viewer:
    """What a reader does with the page, and sees."""

    def __init__(self, page):
        self.page = page

    def choose(self, *models):
        """Checks exactly these models."""
        boxes = self.page.locator("#model-list input")
        expect(boxes.first).to_be_visible()
        for name in [str(box.get_attribute("data-ref")) for box in boxes.all()]:
            self.page.locator(f'#model-list input[data-ref="{name}"]').set_checked(name.split("@")[0] in models)

    def open(self, *files, panes=None):
        """Chooses files and waits until all are read and every pane has its picture."""
        with self.opening():
            self.page.set_input_files("#file", list(files))
        self.settled(panes)
        expect(self.page.locator("#opened progress")).to_have_count(0)
        self.settled(panes)

    @contextlib.contextmanager
    def opening(self):
        """What is done in it opens something: the panes are not those of before when it ends."""
        with self.page.expect_response("**/v1/images"):
            yield
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def settled(self, panes=None):
        """Waits until nothing is waited for."""
        more = "" if panes is None else f" && panes.length === {panes}"
        until(
            self.page,
            "() => { const panes = [...document.querySelectorAll('.pane')]; return panes.length > 0"
            f" && panes.every((pane) => pane.querySelector('.pane-waiting').hidden){more}; }}",
        )

    @staticmethod
    def zipped(path, files, method=zipfile.ZIP_DEFLATED):
        """A zip file of data by their names, or of a list, named in its order."""
        named = files if isinstance(files, dict) else {f"{number:03d}.dcm": data for number, data in enumerate(files)}
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, data in named.items():
                archive.writestr(name, data)
        return path

    def refuse(self, pattern, *, times, status, detail):
        """The next so many requests to these addresses are answered with a problem."""
        refused = []

        def answer(route):
            if len(refused) < times:
                refused.append(route.request.url)
                route.fulfill(status=status, json={"detail": detail, "status": status})
            else:
                route.continue_()

        self.page.route(pattern, answer)

    def read(self, x, y):
        """What the panes say of a pixel, once it is of that pixel."""
        self.point(x, y)
        expect(self.page.locator("#readout")).to_contain_text(f"x {x}, y {y}")
        return self.values()

    def titles(self):
        return self.page.locator(".pane .title").all_text_contents()

    def point(self, x, y, pane=0):
        """Moves the mouse to the middle of a pixel."""
        self.page.mouse.move(*self.place(x, y, pane))

    def place(self, x, y, pane=0):
        """Where a pixel of an image with square pixels, which fits its pane, is in the window."""
        box = self.page.locator(".canvas").nth(pane).bounding_box()
        rows, columns = self.size()
        across = min(box["width"] / columns, box["height"] / rows)
        left = box["x"] + box["width"] / 2 + (x - (columns - 1) / 2) * across
        return left, box["y"] + box["height"] / 2 + (y - (rows - 1) / 2) * across

    def size(self):
        text = self.page.locator("#about-image dd").nth(1).text_content()
        rows, columns = text.split(",")[0].split(" \u00d7 ")
        return int(rows), int(columns)

    def drag(self, begin, end):
        self.point(*begin)
        self.page.mouse.down()
        self.point((begin[0] + end[0]) / 2, (begin[1] + end[1]) / 2)
        self.point(*end)
        self.page.mouse.up()

    def values(self):
        """What the panes say of the pixel under the cursor."""
        return [float(text.removesuffix(" HU")) for text in self.page.locator(".pane .value").all_text_contents()]

    def colour(self, x, y, pane=0):
        """(red, green, blue) that a pane shows at a pixel."""
        left, top = self.place(x, y, pane)
        return self.page.evaluate(
            "([pane, left, top]) => { const canvas = document.querySelectorAll('.canvas')[pane];"
            " const box = canvas.getBoundingClientRect(); const ratio = canvas.width / box.width;"
            " return [...canvas.getContext('2d').getImageData("
            "Math.floor((left - box.x) * ratio), Math.floor((top - box.y) * ratio), 1, 1).data].slice(0, 3); }",
            [pane, left, top],
        )

"""The page in a real Chromium, served by a real `clearslice serve` with the shipped models.

server -> its URL, for the session; no keys, with a spool
page -> a fresh tab of the page at `/`; a test fails if the tab logged an error or asked anybody but the server
until(page, expression) -> waits for JavaScript to become true (the page's policy allows no polling from inside)
opened(page, file, ...) -> chooses files and waits for the picture
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import types
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import numpy as np
import pytest
from playwright.sync_api import expect, sync_playwright

from imaging.phantom import trunk
from imaging.phantom_dicom import PhantomSeries, series_files

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]
PATIENCE_S = 60
POLL_MS = 20
REFUSED = "Failed to load resource"
"""What Chromium logs of every answer above 399, which the page tells in words."""

LAPTOP = {"width": 1280, "height": 720}

expect.set_options(timeout=PATIENCE_S * 1000)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def serving(folder, **settings):
    """A ready server of the shipped models; its URL."""
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CLEARSLICE_")}
    environment |= {"CLEARSLICE_PORT": str(port), "CLEARSLICE_SPOOL": str(folder / "spool"), **settings}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "clearslice.main", "serve"], env=environment, stdout=log, stderr=log
        )
    try:
        url = f"http://127.0.0.1:{port}"
        end = time.monotonic() + PATIENCE_S
        while not _ready(url):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end, "the server never became ready"
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def _ready(url):
    try:
        return httpx.get(f"{url}/v2/health/ready").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="session")
def serve_at():
    """(folder, CLEARSLICE_SETTING=value) -> context with the URL of a ready server."""
    return serving


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture(scope="session")
def chromium():
    if CHROMIUM is None:
        pytest.skip("Chromium is not here (Debian: chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def tab(chromium):
    """tab(url, expected=...) -> a page of that server, watched: errors may be only those with one of `expected`."""
    contexts, found = [], []

    def open_tab(url, *, expected=(), size=LAPTOP, **more):
        server = "/".join(url.split("/")[:3]) + "/"
        context = chromium.new_context(viewport=size, **more)
        context.set_default_timeout(PATIENCE_S * 1000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: said.type == "error" and _note(found, said.text, (REFUSED, *expected)))
        page.on("pageerror", lambda error: _note(found, str(error), expected))
        page.on("request", lambda asked: asked.url.startswith((server, "blob:", "data:")) or found.append(asked.url))
        page.goto(url)
        return page

    yield open_tab
    for context in contexts:
        context.close()
    assert found == []


def _note(found, text, expected):
    if not any(each in text for each in expected):
        found.append(text)


@pytest.fixture
def page(tab, server):
    made = tab(server)
    expect(made.locator("#model-list input").first).to_be_visible()
    return made


def _until(page, expression, argument=None):
    end = time.monotonic() + PATIENCE_S
    while not page.evaluate(expression, argument):
        assert time.monotonic() < end, f"the page never came to {expression}"
        page.wait_for_timeout(POLL_MS)


@pytest.fixture(scope="session")
def until():
    return _until


@contextlib.contextmanager
def proxy(server, prefix="/"):
    """A proxy that takes a prefix off the path: its URL, and how many of the next answers to a path it cuts off."""
    cut = {}

    class Handler(BaseHTTPRequestHandler):
        def forward(self):
            assert self.path.startswith(prefix), self.path
            path = f"/{self.path.removeprefix(prefix)}"
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            kept = {name: value for name, value in self.headers.items() if name.lower() not in {"connection", "origin"}}
            answer = httpx.request(self.command, server + path, content=body, headers=kept, timeout=PATIENCE_S)
            self.send_response(answer.status_code)
            for name, value in answer.headers.items():
                if name.lower() not in {"content-length", "connection", "date"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            broken = cut.get(path, 0) > 0
            cut[path] = cut.get(path, 0) - 1
            self.wfile.write(answer.content[: len(answer.content) // 2] if broken else answer.content)

        do_GET = forward  # noqa: N815 - as the base class calls them
        do_POST = forward  # noqa: N815

        def log_message(self, *_):
            """Says nothing."""

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{made.server_port}{prefix}", cut
    finally:
        made.shutdown()
        thread.join()
        made.server_close()


@pytest.fixture(scope="session")
def proxied():
    """(server, prefix="/") -> context with the URL of a proxy, and how often it cuts answers to a path off."""
    return proxy


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
        self.page.set_input_files("#file", list(files))
        self.settled(panes)
        expect(self.page.locator("#opened progress")).to_have_count(0)
        self.settled(panes)

    def settled(self, panes=None):
        """Waits until nothing is waited for."""
        more = "" if panes is None else f" && panes.length === {panes}"
        _until(
            self.page,
            "() => { const panes = [...document.querySelectorAll('.pane')]; return panes.length > 0"
            f" && panes.every((pane) => pane.querySelector('.pane-waiting').hidden){more}; }}",
        )

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


@pytest.fixture
def viewer(page):
    return Viewer(page)


@pytest.fixture(scope="session")
def viewer_of():
    return Viewer


PATIENT = PhantomSeries(
    patient="PAGE",
    study="1",
    description="page",
    number=1,
    spacing=(0.7, 0.7),
    thickness=2.0,
    region="ABDOMEN",
    kernel="SOFT",
    tube_current_ma=50,
)


def drawn_series(count, *, seed=0, side=64, noise=20):
    """(count, side, side) whole HU and the DICOM files of a drawn series, the lowest slice first."""
    plane = trunk((side, side), (350 / side, 350 / side), np.random.default_rng(seed))
    grain = np.random.default_rng(seed + 1).normal(0, noise, (count, side, side))
    volume = np.rint(plane + grain + 10 * np.arange(count)[:, None, None]).astype(np.float32)
    return types.SimpleNamespace(volume=volume, files=list(series_files(volume, PATIENT)))


@pytest.fixture(scope="session")
def drawn():
    return drawn_series


@pytest.fixture(scope="session")
def sample_files():
    """The page's own sample, low and full dose."""
    web = Path(__file__).parents[2] / "service" / "web"
    return [web / "sample-low-dose.dcm", web / "sample-full-dose.dcm"]

"""The page in a real Chromium, served by a real `clearslice serve` with the shipped models.

server -> its URL, for the session; no keys, with a spool
page -> a fresh tab of the page at `/`; a test fails if the tab logged an error or asked anybody but the server
until(page, expression) -> waits for JavaScript to become true (the page's policy allows no polling from inside)
opened(page, file, ...) -> chooses files and waits for the picture
"""

from __future__ import annotations

import io
import runpy
import shutil
import types
from pathlib import Path

import httpx
import numpy as np
import pytest
from playwright.sync_api import expect, sync_playwright
from pydicom import dcmread
from pydicom.data import get_testdata_file

from imaging.phantom import trunk
from imaging.phantom_dicom import PhantomSeries, series_files

HERE = Path(__file__).parent
SERVERS = types.SimpleNamespace(**runpy.run_path(str(HERE / "servers.py")))
READER = types.SimpleNamespace(**runpy.run_path(str(HERE / "reader.py")))

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]
PATIENCE_S = 60
REFUSED = "Failed to load resource"
"""What Chromium logs of every answer above 399, which the page tells in words."""

LAPTOP = {"width": 1280, "height": 720}

expect.set_options(timeout=PATIENCE_S * 1000)


@pytest.fixture(scope="session")
def serve_at():
    """(folder, CLEARSLICE_SETTING=value) -> context with the URL of a ready server."""
    return SERVERS.serving


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    with SERVERS.serving(tmp_path_factory.mktemp("server")) as url:
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


@pytest.fixture(scope="session")
def until():
    return READER.until


@pytest.fixture(scope="session")
def proxied():
    """(server, prefix="/") -> context with the URL of a proxy, and how often it cuts answers to a path off."""
    return SERVERS.proxy


@pytest.fixture
def viewer(page):
    return READER.Viewer(page)


@pytest.fixture(scope="session")
def viewer_of():
    return READER.Viewer


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


@pytest.fixture(scope="session")
def hu_of():
    """(path) -> the HU of a DICOM file, as pydicom decodes it."""

    def hu(path):
        dataset = dcmread(path)
        return dataset.pixel_array.astype(np.float32) * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)

    return hu


@pytest.fixture
def ct_small(tmp_path):
    """pydicom's bundled CT: of a scanner, 128 x 128."""
    path = tmp_path / "CT_small.dcm"
    path.write_bytes(Path(str(get_testdata_file("CT_small.dcm"))).read_bytes())
    return path


@pytest.fixture(scope="session")
def restored_by(server):
    """(model ref, file, field=...) -> what the server makes of it, as numpy reads it."""

    def restored(model, data, **fields):
        answer = httpx.post(
            f"{server}/v1/reconstructions",
            files={"image": data},
            data={"model": model, **fields},
            headers={"Accept": "application/x-npy"},
            timeout=60,
        )
        assert answer.status_code == 200
        return np.load(io.BytesIO(answer.content))

    return restored

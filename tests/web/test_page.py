"""The page as a whole: policy, keys, keyboard, themes, sizes, a proxy's prefix, and its words when things go wrong."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from service.keys import ApiKey, Scope, digest_of

pytestmark = pytest.mark.web

KEY = "a-key-for-the-page"
PREFIX = "/some/prefix/"
PAIRS = (
    *("ink on page", "ink on panel", "ink on raised", "soft on page", "soft on panel", "accent on page"),
    *("bad on panel", "bad on raised", "good on panel", "warn on panel", "on-accent on accent"),
)


@pytest.fixture(scope="module")
def guarded(serve_at, tmp_path_factory):
    """A server with one key, for all scopes."""
    folder = tmp_path_factory.mktemp("guarded")
    key = ApiKey("reader", frozenset(Scope), digest_of(KEY.encode()))
    (folder / "keys").write_text(key.line())
    with serve_at(folder, CLEARSLICE_API_KEYS_FILE=str(folder / "keys")) as url:
        yield url


def test_the_policy_stops_scripts_and_calls_to_elsewhere(page):
    ran = page.evaluate(
        "async () => { const script = document.createElement('script'); script.textContent = 'window.ran = 1';"
        " document.body.append(script);"
        " document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.ran=1\">');"
        " const called = await fetch('http://127.0.0.1:1/').then(() => 'called', (error) => error.message);"
        " await new Promise((resolve) => setTimeout(resolve, 100)); return [window.ran ?? null, called]; }"
    )
    assert ran == [None, "Failed to fetch"]


@pytest.fixture
def page(tab, server):
    return tab(server, expected=["Content Security Policy", "violates the following"])


def test_a_key_is_asked_for_and_then_used(tab, guarded, viewer_of, sample_files):
    page = tab(guarded)
    dialog = page.get_by_role("dialog", name="API key")
    expect(dialog).to_be_visible()
    dialog.get_by_label("Key").fill("wrong")
    dialog.get_by_role("button", name="Use it").click()
    expect(dialog).to_be_visible()
    dialog.get_by_label("Key").fill(KEY)
    dialog.get_by_role("button", name="Use it").click()
    viewer = viewer_of(page)
    viewer.choose("ct-l2")
    viewer.open(sample_files[0], panes=2)
    assert '-H "Authorization: Bearer $CLEARSLICE_KEY"' in page.locator(".curl").text_content()
    assert KEY not in page.content()
    page.get_by_role("link", name="Jobs").click()
    expect(page.locator("#job-form")).to_be_visible()


def test_a_refusal_is_told_in_the_services_words(tab, server, viewer_of, tmp_path):
    page = tab(server)
    viewer = viewer_of(page)
    expect(page.locator("#model-list input").first).to_be_visible()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "colour.png")
    page.set_input_files("#file", tmp_path / "colour.png")
    expect(page.locator("#opened [role=alert]")).to_contain_text("gray")
    np.save(tmp_path / "hu.npy", np.full((32, 32), 40, np.float32))
    page.set_input_files("#file", tmp_path / "hu.npy")
    expect(page.locator("#opened [role=alert]")).to_contain_text("rescale_slope")
    page.get_by_label("Intercept").fill("0")
    page.get_by_role("button", name="Read as HU").click()
    viewer.settled(panes=2)
    expect(page.locator("#about-image")).to_contain_text("HU")
    viewer.point(5, 5)
    expect(page.locator("#readout")).to_contain_text("40.0 HU")
    assert "rescale_slope=1 -F rescale_intercept=0" in page.locator(".curl").text_content()


def test_a_picture_without_a_unit_is_shown_from_black_to_white(tab, server, viewer_of, tmp_path):
    page = tab(server)
    viewer = viewer_of(page)
    values = np.random.default_rng(0).integers(0, 2**16, (30, 40), dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "picture.png")
    viewer.open(tmp_path / "picture.png", panes=2)
    viewer.point(11, 22)
    expect(page.locator("#readout")).to_contain_text("x 11, y 22")
    assert viewer.values()[0] == pytest.approx(values[22, 11] / 65535, abs=6e-5)
    expect(page.get_by_label("Window width")).to_have_value("1")


def test_a_reference_of_another_size_is_refused_in_words(tab, server, viewer_of, sample_files, tmp_path):
    page = tab(server)
    viewer = viewer_of(page)
    viewer.choose("ct-l2")
    viewer.open(sample_files[0], panes=2)
    np.save(tmp_path / "small.npy", np.zeros((8, 8), np.float32))
    page.set_input_files("#reference-file", tmp_path / "small.npy")
    expect(page.locator("#opened [role=alert]")).to_contain_text(
        "8 \u00d7 8 in relative, and the image 512 \u00d7 512 in HU"
    )


def test_a_service_that_is_gone_and_comes_back(tab, server, viewer_of, sample_files):
    page = tab(server, expected=["ERR_"])
    viewer = viewer_of(page)
    viewer.choose("ct-l2")
    page.context.set_offline(True)
    page.set_input_files("#file", sample_files[0])
    expect(page.locator("#opened .note")).to_contain_text("did not answer")
    page.context.set_offline(False)
    page.locator("#opened").get_by_role("button", name="Try again").click()
    viewer.settled(panes=2)


def test_everything_works_by_keyboard_alone(tab, server, viewer_of, until):
    page = tab(server)
    expect(page.locator("#model-list input").first).to_be_visible()
    press = page.keyboard.press

    def tab_to(selector, most=60):
        for _ in range(most):
            press("Tab")
            if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
                return
        raise AssertionError(f"Tab never comes to {selector}")

    tab_to("#sample")
    press("Enter")
    viewer = viewer_of(page)
    viewer.settled(panes=3)
    tab_to('#model-list input[data-ref^="ct-l1-ssim@"]')
    press("Space")
    viewer.settled(panes=4)
    assert page.evaluate("document.activeElement.dataset.ref").startswith("ct-l1-ssim@")  # the list was made anew
    tab_to("#strength")
    press("ArrowLeft")
    expect(page.locator("#strength-value")).to_have_text("0.99")
    tab_to("#panes")
    before = page.locator("#readout").text_content()
    press("ArrowUp")
    until(page, "(before) => document.getElementById('readout').textContent !== before", before)
    press("2")
    expect(page.get_by_label("Window width")).to_have_value("1500")
    press("d")
    viewer.settled(panes=2)
    press("s")
    viewer.settled(panes=1)
    press("<")
    expect(page.get_by_role("slider", name="Edge")).to_have_value("0.48")
    press("v")
    viewer.settled(panes=4)
    tab_to("#download")
    with page.expect_download():
        press("Enter")
    press("?")
    expect(page.get_by_role("dialog", name="Keyboard and mouse")).to_be_visible()
    press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


@pytest.mark.parametrize("size", [(1280, 720), (820, 1180), (1024, 768), (390, 844)])
def test_no_view_is_wider_than_its_screen(tab, server, viewer_of, size):
    page = tab(server, size={"width": size[0], "height": size[1]})
    viewer_of(page).choose("ct-l2")
    page.locator("#sample").click()
    viewer_of(page).settled(panes=3)
    for name in ("Images", "Models", "Jobs", "PACS"):
        page.get_by_role("link", name=name, exact=True).click()
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert page.evaluate("document.querySelector('main').scrollWidth") <= size[0]


def test_fingers_zoom_and_move(tab, server, viewer_of, sample_files):
    page = tab(server, has_touch=True, size={"width": 820, "height": 1180})
    viewer = viewer_of(page)
    viewer.choose("ct-l2")
    viewer.open(sample_files[0], panes=2)
    box = page.locator(".canvas").first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    before = viewer.colour(256, 256)
    session = page.context.new_cdp_session(page)
    for kind, apart in (("touchStart", 20), ("touchMove", 40), ("touchMove", 80)):
        points = [{"x": x - apart, "y": y, "id": 1}, {"x": x + apart, "y": y, "id": 2}]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_timeout(100)
    # four times as large around the fingers' middle: the image's edge is out of sight
    corner = page.evaluate(
        "() => [...document.querySelector('.canvas').getContext('2d').getImageData(2, 2, 1, 1).data]"
    )
    assert corner[:3] != [0, 0, 0] or viewer.colour(256, 256) != before
    page.get_by_role("button", name="Fit").click()
    page.wait_for_timeout(100)
    assert viewer.colour(256, 256) == before


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_text_can_be_read(page, theme):
    """WCAG 2.2, 1.4.3: at least 4.5 between text and what is behind it."""
    if theme == "light":
        page.get_by_role("button", name="Light or dark").click()
    pairs = [pair.split(" on ") for pair in PAIRS]
    colours = page.evaluate(
        "(names) => Object.fromEntries(names.map((name) => [name, getComputedStyle(document.documentElement)"
        ".getPropertyValue(`--${name}`).trim()]))",
        sorted({name for pair in pairs for name in pair}),
    )
    for front, back in pairs:
        assert contrast(colours[front], colours[back]) >= 4.5, (front, back)


def contrast(one, other):
    """The contrast ratio of two colours (WCAG 2.2)."""

    def luminance(colour):
        digits = colour.lstrip("#")
        digits = "".join(2 * each for each in digits) if len(digits) == 3 else digits
        parts = np.array([int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)])
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_below_a_prefix_of_a_proxy(tab, server, proxied, viewer_of, sample_files):
    with proxied(server, prefix=PREFIX) as (url, _):
        page = tab(url)
        viewer = viewer_of(page)
        viewer.choose("ct-l2")
        viewer.open(sample_files[0], panes=2)
        assert f"{PREFIX}v1/reconstructions" in page.locator(".curl").text_content()
        page.get_by_role("link", name="Models").click()
        expect(page.locator("#model-table button[data-ref]").first).to_be_visible()

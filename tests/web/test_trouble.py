"""What must not go wrong while things come late, twice, in another order, or not at all."""

from __future__ import annotations

import io
import types

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect
from pydicom import dcmread

pytestmark = pytest.mark.web


def test_another_file_of_the_same_name_is_another_file(viewer, tmp_path):
    for folder, grey in (("a", 70), ("b", 185)):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.full((20, 30), grey, np.uint8)).save(tmp_path / folder / "grey.png")
    viewer.open(tmp_path / "a" / "grey.png", panes=2)
    viewer.open(tmp_path / "b" / "grey.png", panes=2)
    for words in ("Read as HU", "Read as a picture"):
        expect(viewer.page.locator("#auto-reason")).to_be_visible()  # nothing is asked any more
        with viewer.opening():
            viewer.page.get_by_role("button", name=words).click()
        viewer.settled(panes=2)
    assert viewer.read(9, 9)[0] == pytest.approx(185 / 255, abs=6e-5)


def test_the_last_file_that_was_opened_wins(viewer, drawn, tmp_path):
    page = viewer.page
    (tmp_path / "mine.dcm").write_bytes(drawn(1).files[0])
    held = []

    def hold(route):  # the sample comes late
        held.append(route)

    page.route("**/web/sample-*.dcm", hold)
    page.locator("#sample").click()
    viewer.choose("ct-l2")
    viewer.open(tmp_path / "mine.dcm", panes=2)
    for route in held:
        route.continue_()
    page.wait_for_timeout(500)
    expect(page.locator("#opened strong").first).to_have_text("mine.dcm")
    expect(page.locator(".pane")).to_have_count(2)


def test_noise_is_that_of_the_series_that_is_shown(viewer, drawn, tmp_path):
    few, many = drawn(2, noise=60, side=256), drawn(7, seed=4, noise=6, side=256)
    viewer.choose("ct-l2")
    viewer.open(viewer.zipped(tmp_path / "both.zip", [*few.files, *many.files]))
    noise = viewer.page.locator("#about-image dt", has_text="Noise").locator("xpath=following-sibling::dd[1]")
    expect(noise).to_contain_text("HU")
    assert float(noise.text_content().removesuffix(" HU")) > 25
    viewer.page.get_by_label("Series").select_option(index=1)
    expect(noise).to_contain_text("HU")
    assert float(noise.text_content().removesuffix(" HU")) < 15


def test_a_series_comes_before_the_pictures_beside_it(viewer, drawn, tmp_path):
    preview = io.BytesIO()
    Image.fromarray(np.full((20, 30), 9, np.uint8)).save(preview, "png")
    viewer.choose("ct-l2")
    viewer.open(viewer.zipped(tmp_path / "export.zip", [preview.getvalue(), *drawn(3).files]))
    expect(viewer.page.locator("#about-image")).to_contain_text("DICOM")
    expect(viewer.page.locator("#slices output")).to_contain_text("/ 3")
    expect(viewer.page.locator("#auto-reason")).to_contain_text("ct-")


def test_scouts_of_another_orientation_are_a_series_of_their_own(viewer, drawn, tmp_path):
    files = drawn(3).files
    dataset = dcmread(io.BytesIO(drawn(4).files[3]))
    dataset.ImageOrientationPatient = ["1", "0", "0", "0", "0", "-1"]
    dataset.SeriesInstanceUID = dcmread(io.BytesIO(files[0])).SeriesInstanceUID
    scout = io.BytesIO()
    dataset.save_as(scout)
    viewer.open(viewer.zipped(tmp_path / "s.zip", [*files, scout.getvalue()]))
    expect(viewer.page.get_by_label("Series").locator("option")).to_have_count(2)
    expect(viewer.page.locator("#slices output")).to_contain_text("/ 3")


def test_a_busy_service_is_asked_again(viewer, drawn, tmp_path):
    page = viewer.page
    viewer.refuse("**/v1/images", times=3, status=503, detail="no requests are taken now")
    viewer.choose("ct-l2")
    page.set_input_files("#file", viewer.zipped(tmp_path / "s.zip", drawn(4).files))
    expect(page.locator("#opened .note")).to_contain_text("no requests are taken now")
    viewer.settled(panes=2)
    expect(page.locator("#slices output")).to_contain_text("/ 4")
    expect(page.locator("#opened .note")).to_have_count(0)


def test_a_restoration_that_failed_is_tried_again(viewer, sample_files):
    page = viewer.page
    viewer.refuse("**/v1/reconstructions", times=1, status=504, detail="too late")
    viewer.choose("ct-l2")
    page.set_input_files("#file", sample_files[0])
    expect(page.locator(".pane-waiting").last).to_have_text("too late")
    page.locator(".pane").last.get_by_role("button", name="Try again").click()
    viewer.settled(panes=2)


def test_a_slow_click_on_a_model_counts_while_slices_arrive(viewer, drawn, tmp_path):
    viewer.choose("ct-l2")
    viewer.page.set_input_files("#file", viewer.zipped(tmp_path / "s.zip", drawn(60).files))
    expect(viewer.page.locator(".pane").first).to_be_visible()
    box = viewer.page.locator('#model-list input[data-ref^="ct-huber@"]')
    box.hover()
    viewer.page.mouse.down()
    viewer.page.wait_for_timeout(150)
    viewer.page.mouse.up()
    expect(box).to_be_checked()


def test_sorting_stays_when_values_change(viewer, sample_files):
    page = viewer.page
    viewer.choose("ct-l2")
    viewer.open(sample_files[0], panes=2)
    page.get_by_role("button", name="Region").click()
    viewer.drag((200, 200), (260, 240))
    head = page.locator("#region-card").get_by_role("button", name="SD")
    head.click()
    for value in ("0.5", "0.2"):
        page.locator("#strength").evaluate(
            "(range, value) => { range.value = value; range.dispatchEvent(new Event('input')); }", value
        )
        expect(page.locator("#strength-value")).to_have_text(f"{float(value):.2f}")
        expect(page.locator("#region-card th[aria-sort=descending]")).to_contain_text("SD")
        expect(head).to_be_focused()


def test_a_key_is_typed_in_peace(tab, server):
    page = tab(server)
    page.get_by_role("button", name="Key", exact=True).click()
    page.locator("#key").fill("half a k")
    page.evaluate("async () => (await import('/web/api.js')).keys.dispatchEvent(new Event('wanted'))")
    expect(page.locator("#key")).to_have_value("half a k")
    page.get_by_role("button", name="Cancel").click()
    page.evaluate("async () => (await import('/web/api.js')).keys.dispatchEvent(new Event('wanted'))")
    expect(page.locator("#key-dialog")).to_be_hidden()


def test_without_a_secure_origin(tab, server, viewer_of, drawn, tmp_path):
    page = tab(server)
    page.add_init_script(
        "delete Crypto.prototype.randomUUID; Object.defineProperty(navigator, 'clipboard', {value: undefined});"
    )
    page.reload()
    viewer = viewer_of(page)
    viewer.choose("ct-l2")
    viewer.open(viewer.zipped(tmp_path / "s.zip", drawn(2).files), panes=2)
    page.locator("#copy-curl").click()
    assert page.evaluate("getSelection().toString()").startswith("curl ")
    expect(page.locator("#opened progress")).to_have_count(0)
    page.locator("#start-job").click()
    job = page.locator("#job-list article[data-job]").first
    expect(job.locator(".chip")).to_have_text("done")
    httpx.delete(f"{server}/v1/jobs/{job.get_attribute('data-job')}").raise_for_status()


def test_the_skip_link_stays_on_its_page(page):
    page.get_by_role("link", name="Models").click()
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "view"
    expect(page.locator("#models")).to_be_visible()


def test_differences_of_no_model_say_so(viewer, sample_files):
    viewer.choose("ct-l2")
    viewer.open(sample_files[0], panes=2)
    viewer.choose()
    viewer.page.get_by_role("button", name="Differences").click()
    expect(viewer.page.locator(".empty")).to_contain_text("choose a model")
    viewer.page.locator("#panes").focus()
    viewer.page.keyboard.press("+")
    viewer.page.keyboard.press("Alt+ArrowLeft")


def test_a_drag_ends_with_its_button(viewer, sample_files):
    page = viewer.page
    viewer.choose("ct-l2")
    viewer.open(sample_files[0], panes=2)
    viewer.point(200, 200)
    page.mouse.down()
    page.mouse.move(5, 5)
    page.mouse.up()
    width = page.get_by_label("Window width").input_value()
    viewer.point(300, 300)
    viewer.point(100, 300)
    assert page.get_by_label("Window width").input_value() == width
    page.get_by_role("button", name="Region").click()
    page.mouse.click(*viewer.place(256, 256))
    expect(page.locator("#region-card")).to_be_hidden()


@pytest.fixture
def cutting(server, proxied):
    """A proxy of the server that cuts the next answers to paths in `cut` off."""
    with proxied(server) as (url, cut):
        yield types.SimpleNamespace(url=url, cut=cut)


def test_an_answer_that_breaks_off_loses_no_slice(tab, cutting, viewer_of, drawn, tmp_path):
    page = tab(cutting.url, expected=["ERR_"])
    viewer = viewer_of(page)
    viewer.choose("ct-l2")
    cutting.cut["/v1/images"] = 1
    page.set_input_files("#file", viewer.zipped(tmp_path / "s.zip", drawn(3).files))
    expect(page.locator("#opened .note")).to_contain_text("did not answer")
    page.locator("#opened").get_by_role("button", name="Try again").click()
    viewer.settled(panes=2)
    expect(page.locator("#slices output")).to_contain_text("/ 3")
    expect(page.locator("#opened .note")).to_have_count(0)


def test_a_list_goes_on_after_an_answer_that_broke_off(tab, cutting):
    page = tab(cutting.url, expected=["ERR_"])
    cutting.cut["/v1/jobs"] = 1
    page.get_by_role("link", name="Jobs").click()
    expect(page.locator("#jobs .note")).to_contain_text("did not answer")
    expect(page.locator("#jobs .note")).to_have_count(0)


def test_a_slice_that_the_service_failed_at_is_told_and_read_again(viewer, drawn, tmp_path):
    page = viewer.page
    viewer.refuse("**/v1/images", times=1, status=500, detail="a defect")
    viewer.choose("ct-l2")
    page.set_input_files("#file", viewer.zipped(tmp_path / "s.zip", drawn(4).files))
    expect(page.locator("#opened .note")).to_contain_text("a defect")
    page.locator("#opened").get_by_role("button", name="Try again").click()
    expect(page.locator("#opened progress")).to_have_count(0)
    expect(page.locator("#slices output")).to_contain_text("/ 4")


def test_the_unit_form_is_of_its_file(viewer, tmp_path):
    for folder, suffix in (("a", "npy"), ("b", "png")):
        (tmp_path / folder).mkdir()
        for number in range(2):
            path = tmp_path / folder / f"{number}.{suffix}"
            values = np.full((20, 30), 100, np.uint8)
            if suffix == "npy":
                np.save(path, values / np.float32(255))
            else:
                Image.fromarray(values).save(path)
    intercept = viewer.page.get_by_label("Intercept")
    viewer.open(*sorted((tmp_path / "a").iterdir()))
    expect(intercept).to_have_value("0")
    viewer.open(*sorted((tmp_path / "b").iterdir()))
    expect(intercept).to_have_value("-1024")
    intercept.fill("")
    viewer.page.get_by_role("button", name="Read as HU").click()
    expect(viewer.page.locator(".toast.error")).to_contain_text("numbers")


def test_a_key_can_be_given_after_it_was_declined(page):
    page.route("**/v1/jobs", lambda route: route.fulfill(status=401, json={"detail": "a key, please", "status": 401}))
    page.get_by_role("link", name="Jobs").click()
    page.locator("#key-dialog").get_by_role("button", name="Cancel").click()
    page.locator("#jobs").get_by_role("button", name="Give a key").click()
    expect(page.locator("#key-dialog")).to_be_visible()

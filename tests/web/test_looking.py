"""A slice in the viewer: values, window, swipe, differences, region, profile, strength, metrics; against numpy."""

from __future__ import annotations

import re

import numpy as np
import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.web

THREE = ("ct-l2", "ct-l1-ssim", "ct-huber")


def test_a_real_slice_through_three_models_with_the_files_own_values(viewer, ct_small, hu_of, restored_by):
    viewer.choose(*THREE)
    viewer.open(ct_small, panes=4)
    assert viewer.titles()[0] == "As it came"
    assert [title.removeprefix("auto: ").split("@")[0] for title in viewer.titles()[1:]] == sorted(THREE)
    hu = hu_of(ct_small)
    order = [str(box.get_attribute("data-ref")) for box in viewer.page.locator("#model-list input:checked").all()]
    restored = [restored_by(ref, ct_small.read_bytes()) for ref in order]
    for x, y in ((5, 7), (64, 64), (100, 31), (127, 127), (0, 0)):
        viewer.point(x, y)
        expect(viewer.page.locator("#readout")).to_contain_text(f"x {x}, y {y}")
        assert viewer.values() == pytest.approx([hu[y, x], *(each[y, x] for each in restored)], abs=0.051)


def test_the_window_of_dicom_gives_the_greys(viewer, ct_small, hu_of):
    viewer.choose("ct-l2")
    viewer.open(ct_small, panes=2)
    viewer.page.get_by_role("button", name="Smooth").click()
    hu = hu_of(ct_small)
    for center, width in ((40, 400), (-600, 1500)):
        viewer.page.get_by_label("Window centre").fill(str(center))
        viewer.page.get_by_label("Window width").fill(str(width))
        viewer.page.get_by_label("Window width").press("Enter")
        viewer.page.wait_for_timeout(100)
        for x, y in ((20, 64), (64, 64), (64, 20)):
            shade = ((hu[y, x] - (center - 0.5)) / (width - 1) + 0.5) * 255  # PS3.3 C.11.2.1.2
            red, green, blue = viewer.colour(x, y)
            assert red == green == blue == pytest.approx(np.clip(shade, 0, 255), abs=1)


def test_dragging_and_presets_change_the_window(viewer, ct_small):
    page = viewer.page
    viewer.open(ct_small)
    page.get_by_label("Window preset").select_option(label="Lung (-600 / 1500)")
    assert page.get_by_label("Window width").input_value() == "1500"
    viewer.drag((60, 60), (80, 60))
    assert float(page.get_by_label("Window width").input_value()) > 1500
    assert float(page.get_by_label("Window centre").input_value()) == pytest.approx(-600)
    page.locator("#panes").focus()
    page.keyboard.press("3")
    assert (page.get_by_label("Window centre").input_value(), page.get_by_label("Window width").input_value()) == (
        "480",
        "2500",
    )


def test_zoom_and_pan_are_the_same_in_all_panes(viewer, ct_small):
    viewer.choose("ct-l2")
    viewer.open(ct_small, panes=2)
    page = viewer.page
    before = [viewer.colour(64, 64, pane) for pane in (0, 1)]
    viewer.point(64, 64)
    page.mouse.wheel(0, -300)
    page.get_by_role("button", name="Pan").click()
    viewer.drag((64, 64), (74, 64))
    viewer.point(74, 64)
    first = page.locator("#readout").text_content()
    viewer.point(74, 64, pane=1)
    page.wait_for_timeout(100)
    assert page.locator("#readout").text_content() == first
    x = int(re.match(r"x (\d+), y (\d+)", first)[1])
    assert x != 74
    page.get_by_role("button", name="Fit").click()
    page.wait_for_timeout(100)
    assert [viewer.colour(64, 64, pane) for pane in (0, 1)] == before


def test_swipe_shows_two_images_in_one_pane(viewer, ct_small, hu_of, restored_by):
    viewer.choose("ct-l2")
    viewer.open(ct_small, panes=2)
    page = viewer.page
    page.get_by_role("button", name="Swipe").click()
    viewer.settled(panes=1)
    restored = restored_by("ct-l2", ct_small.read_bytes())
    hu = hu_of(ct_small)
    viewer.point(40, 70)
    assert viewer.values() == pytest.approx([hu[70, 40]], abs=0.051)
    viewer.point(90, 70)
    page.wait_for_timeout(50)
    assert viewer.values() == pytest.approx([restored[70, 90]], abs=0.051)
    page.get_by_role("slider", name="Edge").fill("0.95")
    viewer.point(90, 70)
    viewer.point(90, 71)
    viewer.point(90, 70)
    page.wait_for_timeout(50)
    assert viewer.values() == pytest.approx([hu[70, 90]], abs=0.051)


def test_differences_have_a_sign_a_base_and_a_scale(viewer, sample_files, hu_of, restored_by):
    viewer.choose("ct-l2")
    viewer.open(sample_files[0], panes=2)
    viewer.page.set_input_files("#reference-file", sample_files[1])
    viewer.settled(panes=3)
    page = viewer.page
    page.get_by_role("button", name="Differences").click()
    viewer.settled(panes=1)
    degraded, truth = hu_of(sample_files[0]), hu_of(sample_files[1])
    restored = restored_by("ct-l2", sample_files[0].read_bytes())
    viewer.point(200, 250)
    page.wait_for_timeout(50)
    assert viewer.values() == pytest.approx([restored[250, 200] - degraded[250, 200]], abs=0.051)
    page.get_by_label("Difference from").select_option("reference")
    viewer.settled(panes=2)
    page.wait_for_timeout(50)
    viewer.point(201, 250)
    viewer.point(200, 250)
    page.wait_for_timeout(50)
    expected = [degraded[250, 200] - truth[250, 200], restored[250, 200] - truth[250, 200]]
    assert viewer.values() == pytest.approx(expected, abs=0.051)
    page.get_by_label("Scale of the differences").fill("20")
    page.get_by_label("Scale of the differences").press("Enter")
    expect(page.locator(".colour-bar").first).to_contain_text("+20 HU")


def test_region_and_profile_are_those_of_numpy(viewer, sample_files, hu_of, restored_by):
    viewer.choose("ct-l2")
    viewer.open(sample_files[0], panes=2)
    page = viewer.page
    page.locator("#panes").focus()
    page.keyboard.press("r")
    # by keyboard, since a mouse cannot aim at the middle of a pixel: the cursor begins in the middle of the image
    page.keyboard.press("ArrowRight")
    expect(page.locator("#readout")).to_contain_text("x ")
    start = np.array([int(each) for each in re.findall(r"[xy] (\d+)", page.locator("#readout").text_content())])
    page.keyboard.press("Enter")
    for _ in range(3):
        page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Enter")
    hu, restored = hu_of(sample_files[0]), restored_by("ct-l2", sample_files[0].read_bytes())
    rows, columns = np.mgrid[: hu.shape[0], : hu.shape[1]]
    inside = ((columns - start[0] - 15) / 15) ** 2 + ((rows - start[1] - 15) / 15) ** 2 <= 1
    cells = [row.locator("td").all_text_contents() for row in page.locator("#region-card tbody tr").all()]
    for found, image in zip(cells, (hu, restored), strict=True):
        values = image[inside].astype(np.float64)
        expected = [values.mean(), values.std(ddof=1), values.min(), values.max()]
        assert [float(cell) for cell in found] == pytest.approx(expected, abs=0.051)
    expect(page.locator("#region-card h2")).to_contain_text(f"{inside.sum()} pixels")
    page.keyboard.press("l")
    page.keyboard.press("Enter")
    for _ in range(4):
        page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Enter")
    expect(page.locator("#profile-card svg[role=img]")).to_have_attribute(
        "aria-label", re.compile("HU over mm: .*ct-l2")
    )
    expect(page.locator("#profile-card polyline").first).to_have_attribute("points", re.compile(r"^(\S+ ){40}\S+$"))


def test_a_file_is_dropped_anywhere(viewer, ct_small):
    viewer.choose("ct-l2")
    viewer.page.evaluate(
        """(bytes) => {
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([Uint8Array.from(bytes)], "dropped.dcm"));
          for (const kind of ["dragenter", "dragover", "drop"]) {
            const dragged = new DragEvent(kind, {dataTransfer, bubbles: true, cancelable: true});
            document.getElementById("panes").dispatchEvent(dragged);
          }
        }""",
        list(ct_small.read_bytes()),
    )
    viewer.settled(panes=2)
    expect(viewer.page.locator("#opened strong")).to_have_text("dropped.dcm")


def test_names_of_files_are_text_and_nothing_else(viewer, ct_small, tmp_path):
    odd = tmp_path / "<img src=x onerror=alert(1)>&amp;.dcm"
    odd.write_bytes(ct_small.read_bytes())
    viewer.choose("ct-l2")
    viewer.open(odd, panes=2)
    expect(viewer.page.locator("#opened strong")).to_have_text(odd.name)
    assert viewer.page.locator("#opened img").count() == 0

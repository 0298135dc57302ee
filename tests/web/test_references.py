"""The truth beside a series: the slice at the same place, or a word why there is none."""

from __future__ import annotations

import io

import numpy as np
import pytest
from playwright.sync_api import expect
from pydicom import dcmread

pytestmark = pytest.mark.web


def test_a_reference_lies_beside_the_slice_of_its_place(viewer, drawn, tmp_path):
    image, truth = drawn(5), drawn(5, seed=9)
    files = [*image.files[:2], b"damaged", *image.files[3:]]
    viewer.choose("ct-l2")
    viewer.open(viewer.zipped(tmp_path / "image.zip", files))
    backwards = {f"{9 - number}.dcm": data for number, data in enumerate(truth.files[1:])}
    viewer.page.set_input_files("#reference-file", viewer.zipped(tmp_path / "truth.zip", backwards))
    expect(viewer.page.locator("#opened")).to_contain_text("truth.zip")
    viewer.page.locator("#panes").focus()
    viewer.page.keyboard.press("Home")
    expect(viewer.page.locator(".pane-waiting").last).to_have_text("no slice of the reference lies here")
    for at, number in ((2, 1), (3, 3), (4, 4)):
        viewer.page.keyboard.press("PageDown")
        expect(viewer.page.locator("#slices output")).to_contain_text(f"{at} / 4")
        viewer.settled(panes=3)
        values = viewer.read(20 + at, 30)
        assert values[0] == image.volume[number, 30, 20 + at]
        assert values[2] == truth.volume[number, 30, 20 + at]


def test_a_reference_with_fewer_frames_stops_nothing(viewer, tmp_path):
    frames = np.random.default_rng(0).random((4, 40, 50)).astype(np.float32)
    np.save(tmp_path / "four.npy", frames)
    np.save(tmp_path / "two.npy", frames[:2])
    viewer.open(tmp_path / "four.npy", panes=2)
    viewer.page.set_input_files("#reference-file", tmp_path / "two.npy")
    expect(viewer.page.locator(".pane")).to_have_count(3)
    viewer.page.get_by_label("Slice", exact=True).fill("4")
    expect(viewer.page.locator("#slices output")).to_contain_text("4 / 4")
    expect(viewer.page.locator(".pane-waiting").last).to_have_text("no slice of the reference lies here")


def test_a_reference_of_another_size_is_calculated_with_nowhere(viewer, drawn, tmp_path):
    (tmp_path / "image.dcm").write_bytes(drawn(1).files[0])
    (tmp_path / "large.dcm").write_bytes(drawn(1, side=80).files[0])
    viewer.choose("ct-l2")
    viewer.open(tmp_path / "image.dcm", panes=2)
    viewer.page.set_input_files("#reference-file", tmp_path / "large.dcm")
    expect(viewer.page.locator(".pane-waiting").last).to_have_text("another size or unit")
    viewer.page.keyboard.press("r")
    viewer.page.get_by_role("button", name="Region").click()
    viewer.drag((10, 10), (40, 40))
    expect(viewer.page.locator("#region-card tbody tr")).to_have_count(2)
    viewer.page.get_by_role("button", name="Differences").click()
    viewer.page.get_by_label("Difference from").select_option("reference")
    expect(viewer.page.locator(".pane-waiting").first).to_have_text("another size or unit")


def test_phases_at_one_place_have_their_own_references(viewer, drawn, tmp_path):
    phases, truths = drawn(2), drawn(2, seed=6)
    files, references = [], []
    for source, target in ((phases.files, files), (truths.files, references)):
        for number, data in enumerate(source):
            dataset = dcmread(io.BytesIO(data))
            dataset.ImagePositionPatient = ["0", "0", "5"]
            dataset.InstanceNumber = str(number + 1)
            out = io.BytesIO()
            dataset.save_as(out)
            target.append(out.getvalue())
    viewer.choose("ct-l2")
    viewer.open(viewer.zipped(tmp_path / "a.zip", files), panes=2)
    viewer.page.set_input_files("#reference-file", viewer.zipped(tmp_path / "b.zip", references))
    viewer.page.get_by_label("Slice", exact=True).fill("2")
    viewer.settled(panes=3)
    expect(viewer.page.locator("#slices output")).to_contain_text("2 / 2")
    values = viewer.read(21, 33)
    assert (values[0], values[2]) == (phases.volume[1, 33, 21], truths.volume[1, 33, 21])


def test_a_slice_has_the_reference_at_its_place_in_a_series(viewer, drawn, tmp_path):
    series, truth = drawn(4), drawn(4, seed=8)
    (tmp_path / "one.dcm").write_bytes(series.files[2])
    viewer.choose("ct-l2")
    viewer.open(tmp_path / "one.dcm", panes=2)
    viewer.page.set_input_files("#reference-file", viewer.zipped(tmp_path / "b.zip", truth.files))
    viewer.settled(panes=3)
    assert viewer.read(21, 33)[2] == truth.volume[2, 33, 21]


def test_of_two_series_of_a_reference_one_is_chosen(viewer, drawn, tmp_path):
    image, one, other = drawn(2), drawn(2, seed=3), drawn(2, seed=4)
    viewer.choose("ct-l2")
    viewer.open(viewer.zipped(tmp_path / "a.zip", image.files), panes=2)
    viewer.page.set_input_files("#reference-file", viewer.zipped(tmp_path / "b.zip", [*one.files, *other.files]))
    viewer.settled(panes=3)
    viewer.page.get_by_label("Slice", exact=True).fill("1")
    viewer.settled(panes=3)
    assert viewer.read(21, 33)[2] == one.volume[0, 33, 21]
    viewer.page.get_by_label("Series of the reference").select_option(index=1)
    viewer.settled(panes=3)
    assert viewer.read(22, 33)[2] == other.volume[0, 33, 22]

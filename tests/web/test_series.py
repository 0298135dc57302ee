"""Series in the viewer: archives of Python's own making, the order of the slices, scrolling, and what is left out."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile

import httpx
import numpy as np
import pytest
from playwright.sync_api import expect
from pydicom import Dataset, Sequence

pytestmark = pytest.mark.web


def tarred(path, files):
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def shuffled(files):
    """Names whose order is the reverse of the patient's."""
    return {f"IM{len(files) - number:04d}": data for number, data in enumerate(files)}


@pytest.mark.parametrize("kind", ["deflated.zip", "stored.zip", "plain.tar", "packed.tar.gz"])
def test_slices_of_an_archive_lie_as_in_the_patient(viewer, drawn, tmp_path, kind):
    series = drawn(5)
    files = shuffled(series.files)
    if kind.endswith(".zip"):
        method = zipfile.ZIP_STORED if kind.startswith("stored") else zipfile.ZIP_DEFLATED
        path = viewer.zipped(tmp_path / kind, files, method)
    else:
        path = tarred(tmp_path / kind, files)
    viewer.choose("ct-l2")
    viewer.open(path, panes=2)
    expect(viewer.page.locator("#slices output")).to_contain_text("/ 5")
    viewer.page.locator("#panes").focus()
    viewer.page.keyboard.press("Home")
    for number in range(5):
        expect(viewer.page.locator("#slices output")).to_contain_text(f"{number + 1} / 5")
        viewer.settled(panes=2)
        viewer.point(20 + number, 30)
        expect(viewer.page.locator("#readout")).to_contain_text(f"x {20 + number}, y 30")
        assert viewer.values()[0] == series.volume[number, 30, 20 + number]
        viewer.page.keyboard.press("PageDown")


def test_files_chosen_together_are_a_series_and_the_wheel_goes_through_it(viewer, drawn, tmp_path):
    series = drawn(4)
    paths = [tmp_path / f"{number}.dcm" for number in range(4)]
    for path, data in zip(paths, reversed(series.files), strict=True):
        path.write_bytes(data)
    viewer.choose("ct-l2")
    viewer.open(*paths, panes=2)
    output = viewer.page.locator("#slices output")
    expect(output).to_contain_text("/ 4")
    viewer.page.get_by_label("Slice", exact=True).fill("1")
    viewer.point(30, 30)
    viewer.page.mouse.wheel(0, 200)
    expect(output).to_contain_text("3 / 4")
    viewer.page.mouse.wheel(0, -100)
    expect(output).to_contain_text("2 / 4")


def test_all_slices_are_restored_on_demand_as_the_service_does(viewer, server, drawn, tmp_path):
    series = drawn(16)
    path = viewer.zipped(tmp_path / "s.zip", series.files)
    viewer.choose("ct-l2")
    viewer.open(path, panes=2)
    viewer.page.get_by_role("button", name="Restore all").click()
    expect(viewer.page.get_by_label("Restored slices")).to_have_attribute("title", "16 of 16 slices are restored")
    viewer.page.locator("#panes").focus()
    viewer.page.keyboard.press("End")
    viewer.settled(panes=2)
    answer = httpx.post(
        f"{server}/v1/reconstructions",
        files={"image": series.files[-1]},
        data={"model": "ct-l2"},
        headers={"Accept": "application/x-npy"},
    )
    restored = np.load(io.BytesIO(answer.content))
    viewer.point(25, 40)
    expect(viewer.page.locator("#readout")).to_contain_text("x 25, y 40")
    assert viewer.values()[1] == pytest.approx(restored[40, 25], abs=0.051)


def test_what_is_no_image_is_left_out_and_named_with_the_services_words(viewer, drawn, tmp_path):
    series = drawn(3)
    files = {f"a{number}.dcm": data for number, data in enumerate(series.files)}
    path = viewer.zipped(
        tmp_path / "s.zip", files | {"report.txt": b"no image", "DICOMDIR": b"x", "__MACOSX/._a": b"y"}
    )
    viewer.open(path)
    expect(viewer.page.locator("#opened .note")).to_contain_text("1 left out")
    expect(viewer.page.locator("#opened .note")).to_contain_text("report.txt")
    expect(viewer.page.locator("#slices output")).to_contain_text("/ 3")


def test_two_series_are_never_mixed_and_each_can_be_seen(viewer, drawn, tmp_path):
    one, other = drawn(3), drawn(2, seed=5)
    files = {f"{number}": data for number, data in enumerate([*one.files, *other.files])}
    viewer.open(viewer.zipped(tmp_path / "two.zip", files))
    expect(viewer.page.locator("#slices output")).to_contain_text("/ 3")
    which = viewer.page.get_by_label("Series")
    expect(which.locator("option")).to_have_count(2)
    which.select_option(index=1)
    expect(viewer.page.locator("#slices output")).to_contain_text("/ 2")
    viewer.settled()
    viewer.page.get_by_label("Slice", exact=True).fill("2")
    viewer.settled()
    viewer.point(10, 40)
    expect(viewer.page.locator("#readout")).to_contain_text("x 10, y 40")
    assert viewer.values()[0] == other.volume[1, 40, 10]


@pytest.mark.parametrize(
    ("name", "said"), [("cut.zip", "damaged or cut off"), ("empty.zip", "no file"), ("bytes.dcm", "bytes.dcm")]
)
def test_archives_and_files_that_cannot_be_read_say_why(viewer, drawn, tmp_path, name, said):
    whole = viewer.zipped(tmp_path / "whole.zip", {"a": drawn(1).files[0]}).read_bytes()
    empty = viewer.zipped(tmp_path / "none.zip", {}).read_bytes()
    data = {"cut.zip": whole[: len(whole) // 2], "empty.zip": empty, "bytes.dcm": b"no image at all"}
    (tmp_path / name).write_bytes(data[name])
    viewer.page.set_input_files("#file", tmp_path / name)
    expect(viewer.page.locator("[role=alert]").first).to_contain_text(said)


def test_a_zip_bomb_is_stopped_at_the_size_that_it_states(viewer, tmp_path):
    path = viewer.zipped(tmp_path / "bomb.zip", {"a": bytes(10**7)})
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 24 : at + 28] = (1000).to_bytes(4, "little")  # the directory now says that it is small
    message = viewer.page.evaluate(
        "async (bytes) => { const {entriesOf} = await import('/web/files/archive.js');"
        " const [entry] = await entriesOf(new Blob([Uint8Array.from(bytes)]));"
        " try { await entry.blob(); } catch (error) { return error.message; } }",
        list(data),
    )
    assert "damaged" in message


def test_zip64_and_names_that_are_not_ascii(page, tmp_path):
    path = tmp_path / "large.zip"
    with (
        zipfile.ZipFile(path, "w") as archive,
        archive.open(zipfile.ZipInfo("é/1.dcm"), "w", force_zip64=True) as entry,
    ):
        entry.write(b"hello")
    assert _members(page, path.read_bytes()) == [["é/1.dcm", "hello"]]


def test_a_tar_of_the_page_is_read_by_python_and_by_the_page(page):
    made = page.evaluate(
        "async () => { const {tarOf} = await import('/web/files/archive.js');"
        " const files = [{blob: new Blob(['one'])}, {blob: new Blob(['x'.repeat(600)])}];"
        " return [...new Uint8Array(await tarOf(files).arrayBuffer())]; }"
    )
    with tarfile.open(fileobj=io.BytesIO(bytes(made))) as archive:
        assert [(entry.name, archive.extractfile(entry).read()) for entry in archive] == [
            ("00001.dcm", b"one"),
            ("00002.dcm", b"x" * 600),
        ]
    assert [name for name, _ in _members(page, gzip.compress(bytes(made)))] == ["00001.dcm", "00002.dcm"]


def _members(page, data):
    return page.evaluate(
        "async (bytes) => { const {entriesOf} = await import('/web/files/archive.js');"
        " const found = []; for (const entry of await entriesOf(new Blob([Uint8Array.from(bytes)])))"
        " found.push([entry.name, await (await entry.blob()).text()]); return found; }",
        list(data),
    )


def test_a_stack_has_as_many_slices_as_frames(viewer, tmp_path):
    stack = np.random.default_rng(3).random((4, 40, 50)).astype(np.float32)
    np.save(tmp_path / "stack.npy", stack)
    viewer.open(tmp_path / "stack.npy", panes=2)
    assert viewer.titles()[1].startswith("auto: relative-")  # a CT model was chosen, which takes no such image
    expect(viewer.page.locator("#slices output")).to_contain_text("/ 4")
    viewer.page.get_by_label("Slice", exact=True).fill("3")
    viewer.settled(panes=2)
    viewer.point(7, 9)
    expect(viewer.page.locator("#readout")).to_contain_text("x 7, y 9")
    assert viewer.values()[0] == pytest.approx(stack[2, 9, 7], abs=6e-5)


def test_frames_of_an_enhanced_image_lie_as_in_the_patient(viewer, enhanced, tmp_path):
    stored = np.stack([np.full((48, 48), 1024 + 100 * number, np.int16) for number in range(3)])
    source = enhanced.enhanced_ct(stored)
    for groups, height in zip(source.PerFrameFunctionalGroupsSequence, (30, 10, 20), strict=True):
        place = Dataset()
        place.ImagePositionPatient = ["0", "0", str(height)]
        groups.PlanePositionSequence = Sequence([place])
    (tmp_path / "enhanced.dcm").write_bytes(enhanced.enhanced_file(source))
    viewer.choose("ct-l2")
    viewer.open(tmp_path / "enhanced.dcm", panes=2)
    viewer.page.locator("#panes").focus()
    viewer.page.keyboard.press("Home")
    values = []
    for number, height in enumerate((10, 20, 30)):
        expect(viewer.page.locator("#slices output")).to_contain_text(f"{number + 1} / 3  {height}.0 mm")
        viewer.settled(panes=2)
        viewer.point(20 + number, 20)
        expect(viewer.page.locator("#readout")).to_contain_text(f"x {20 + number}, y 20")
        values.append(viewer.values()[0])
        viewer.page.keyboard.press("PageDown")
    assert np.diff(values).tolist() == [100, -200]

"""The elements of a file by their bytes: what is read is written the same, and nothing else is taken."""

from __future__ import annotations

import io
import struct

import pytest
from pydicom import dcmread

from service.dicom import elements


def test_what_is_read_is_written_the_same(work, ct_slice):
    file = work(ct_slice(), 1.0).write()
    assert elements.write_file(elements.read_file(file)) == file


def test_multi_frame_files_too_and_their_nested_items(frames_work, enhanced):
    file = frames_work(enhanced.enhanced_file(enhanced.enhanced_ct()), 1.0).write()
    read = elements.read_file(file)
    assert elements.write_file(read) == file
    groups = read.get(0x52009230)
    items = elements.items_of(groups)
    assert len(items) == dcmread(io.BytesIO(file)).NumberOfFrames
    assert elements.sequence(0x52009230, items) == groups


def test_values_as_pydicom_reads_them(work, ct_slice):
    file = work(ct_slice(), 1.0).write()
    read, dataset = elements.read_file(file), dcmread(io.BytesIO(file))
    assert [one.tag for one in read.elements] == [int(tag) for tag in dataset.keys()]  # noqa: SIM118
    assert read.get(0x00280010).number() == dataset.Rows
    assert read.get(0x0020000D).text() == dataset.StudyInstanceUID
    assert read.get(0x00100040).text() == dataset.PatientSex
    assert read.get(0x00189999) is None


def test_replaced_keeps_the_order_of_tags():
    a, b, c = (elements.text_element(tag, "LO", value) for tag, value in ((1, "a"), (3, "b"), (2, "c")))
    new = elements.text_element(3, "LO", "new")
    assert elements.replaced([a, b], new, c) == (a, c, new)


@pytest.mark.parametrize("damage", ["implicit", "empty", "no length", "cut", "deflated", "undefined", "garbage"])
def test_other_files_are_refused(work, ct_slice, damage):
    file = work(ct_slice(), 1.0).write()
    pixels = file.index(b"\xe0\x7f\x10\x00OW")
    files = {
        "implicit": ct_slice(syntax="implicit"),
        "deflated": ct_slice(syntax="deflated"),
        "empty": b"",
        "cut": file[:-2],
        "undefined": file[: pixels + 8] + b"\xff" * 4 + file[pixels + 12 :],
        "no length": file[:132] + file[144:],
        "garbage": file + b"\x01\xff\xff",
    }
    with pytest.raises(ValueError, match=r"file|Explicit|element"):
        elements.read_file(files[damage])


def test_a_value_too_long_for_its_vr_is_refused():
    with pytest.raises(ValueError, match="65536"):
        elements.write_elements([elements.Element(0x00100010, "PN", b"x" * 65536)])


@pytest.mark.parametrize("value", [b"\xfe\xff", struct.pack("<HHI", 0xFFFE, 0xE000, 9), b"\0" * 8])
def test_items_that_do_not_end_are_refused(value):
    with pytest.raises(ValueError, match="item"):
        elements.items_of(elements.Element(0x00082112, "SQ", value))

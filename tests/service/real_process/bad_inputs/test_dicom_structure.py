"""DICOM files whose bytes are damaged or built to hurt the reader (items 2 to 5, 9 and 12)."""

from __future__ import annotations

import io
import struct

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence


def without_meta(data: bytes) -> bytes:
    """The file with an empty group 2: no transfer syntax is named."""
    start = data.index(b"\x08\x00\x05\x00CS")
    return data[:132] + data[start:]


def with_syntax(uid: bytes):
    """The transfer syntax becomes another, of the same length."""

    def change(data: bytes) -> bytes:
        assert data.count(b"1.2.840.10008.1.2.1\0") == 1
        return data.replace(b"1.2.840.10008.1.2.1\0", uid.ljust(20, b"\0"))

    return change


def at_rows(value_length: bytes, vr: bytes = b"US"):
    """The element Rows gets another VR or length."""

    def change(data: bytes) -> bytes:
        assert data.count(b"\x28\x00\x10\x00US\x02\x00") == 1
        return data.replace(b"\x28\x00\x10\x00US\x02\x00", b"\x28\x00\x10\x00" + vr + value_length)

    return change


BROKEN = {
    "no preamble": (lambda data: data[128:], "not-an-image"),
    "preamble only": (lambda data: data[:132], "not-an-image"),
    "meta only": (lambda data: data[:200], "not-an-image"),
    "no file meta": (without_meta, "not-an-image"),
    "unknown transfer syntax": (with_syntax(b"1.2.3.4.5.6"), "unsupported-format"),
    "transfer syntax that is none": (with_syntax(b"1.2.840.10008.1.1"), "unsupported-format"),
    "truncated in an element": (lambda data: data[:400], "not-an-image"),
    "truncated pixels": (lambda data: data[:-50], "not-an-image"),
    "odd length": (lambda data: data[:-1], "not-an-image"),
    "no pixels": (lambda data: data[: data.index(b"\xe0\x7f\x10\x00")], "unsuitable-image"),
    "garbage instead of a meta": (lambda _: bytes(128) + b"DICM" + b"\xff" * 100, "not-an-image"),
    "a length beyond the file": (at_rows(b"\xff\x7f"), "not-an-image"),
    "a VR that does not exist": (at_rows(b"\x02\x00", b"??"), "not-an-image"),
    "a VR of another kind": (at_rows(b"\x02\x00", b"LO"), "unsuitable-image"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_damaged_files(refuse, ct_slice, name):
    change, slug = BROKEN[name]
    refuse(change(ct_slice()), slug)


@pytest.mark.parametrize("kept", [0.05, 0.3, 0.6, 0.8, 0.95])
def test_files_cut_off_anywhere(client, ct_slice, kept):
    """Between two elements the rest is a data set without pixels; everywhere else it is no data set."""
    data = ct_slice()
    answer = client.post("/v1/reconstructions", files={"image": data[: int(len(data) * kept)]})
    assert answer.json()["type"] in {"/problems/not-an-image", "/problems/unsuitable-image"}


@pytest.mark.parametrize("depth", [100, 500])
def test_deeply_nested_sequences(refuse, ct_slice, depth):
    """Written by hand: pydicom's own writer would not survive 500."""
    item = b""
    for _ in range(depth):
        content = b"\xfe\xff\x00\xe0" + b"\xff" * 4 + item + b"\xfe\xff\x0d\xe0" + bytes(4)
        item = b"\x40\x00\x75\x02SQ\0\0" + b"\xff" * 4 + content + b"\xfe\xff\xdd\xe0" + bytes(4)
    data = ct_slice()
    pixels = data.index(b"\xe0\x7f\x10\x00")
    refuse(data[:pixels] + item + data[pixels:], "not-an-image")


def test_a_hundred_thousand_empty_elements(client, ct_slice):
    """Private elements are no mistake: this file is large, strange and fine."""
    elements = b"".join(
        struct.pack("<HH", 0x4001 + 2 * (n // 4000), 0x1000 + n % 4000) + b"UN\0\0\0\0\0\0" for n in range(100_000)
    )
    data = ct_slice()
    pixels = data.index(b"\xe0\x7f\x10\x00")
    answer = client.post("/v1/reconstructions", files={"image": data[:pixels] + elements + data[pixels:]})
    assert answer.status_code in {200, 400, 422}


def test_a_deflate_bomb_stops_at_the_cap(refuse, ct_slice):
    bomb = ct_slice(np.zeros((7000, 7000), np.int16), syntax="deflated")
    assert len(bomb) < 300_000
    assert refuse(bomb, "image-too-large")["setting"] == "CLEARSLICE_MAX_UPLOAD_BYTES"


@pytest.mark.parametrize("magic", [b"MZ\x90\0", b"\x7fELF"])
def test_a_program_in_the_preamble_does_not_come_back(client, ct_slice, magic):
    answer = client.post("/v1/reconstructions", files={"image": magic + b"\x90" * 124 + ct_slice()[128:]})
    assert answer.status_code == 200
    assert answer.content[:128] == bytes(128)


def test_trailing_garbage_does_not_come_back(client, ct_slice):
    answer = client.post("/v1/reconstructions", files={"image": ct_slice() + b"evil" * 100})
    assert answer.status_code in {200, 400}
    assert b"evilevil" not in answer.content


def test_many_items_of_a_sequence(client, ct_dataset):
    dataset = ct_dataset()
    dataset.RequestAttributesSequence = Sequence([Dataset() for _ in range(5_000)])
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    answer = client.post("/v1/reconstructions", files={"image": file.getvalue()})
    assert answer.status_code in {200, 400}

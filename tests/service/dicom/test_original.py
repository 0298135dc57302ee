"""Texts of the source come out byte for byte, whatever their character set."""

from __future__ import annotations

import io

import pytest
from pydicom import dcmread, dcmwrite

CASES = [
    # declared, bytes of the patient's name, bytes of the description of the study
    (b"ISO_IR 100", b"M\xfcller^Hans ", b"Sch\xe4del "),
    (b"ISO_IR 192", "Müller^Hans".encode(), "頭部".encode()),
    # not what was declared: UTF-8 under Latin-1, and invalid UTF-8
    (b"ISO_IR 100", "Müller^Hans".encode(), "頭部".encode()),
    (b"ISO_IR 192", b"M\xfcller^H", b"\xff\xfe\xfd\xfc"),
    (b"ISO 2022 IR 6\\ISO 2022 IR 87", b"A^B=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B", b"\x1b$BF,\x1b(B\x1b$BIt\x1b(B"),
    (b"GB18030", "王^小东".encode("gb18030"), "头部".encode("gb18030")),
    (b"", b"M\xfcller^Hans ", b"two spaces  "),
    (b"NO_SUCH_SET", b"M\xfcller^H", b"x\xfcy "),
]


def splice(file: bytes, tag: bytes, vr: bytes, value: bytes) -> bytes:
    """`file` (explicit VR little endian, short VR) with another value of an element."""
    start = file.index(tag + vr)
    length = int.from_bytes(file[start + 6 : start + 8], "little")
    value += b" " * (len(value) % 2)
    return file[: start + 6] + len(value).to_bytes(2, "little") + value + file[start + 8 + length :]


def raw(file: bytes, tag: bytes, vr: bytes) -> bytes:
    start = file.index(tag + vr)
    length = int.from_bytes(file[start + 6 : start + 8], "little")
    return file[start + 8 : start + 8 + length]


ELEMENTS = {
    "SpecificCharacterSet": (b"\x08\x00\x05\x00", b"CS"),
    "PatientName": (b"\x10\x00\x10\x00", b"PN"),
    "StudyDescription": (b"\x08\x00\x30\x10", b"LO"),
    "PatientID": (b"\x10\x00\x20\x00", b"LO"),
}


@pytest.mark.parametrize(("charset", "name", "description"), CASES)
@pytest.mark.filterwarnings("ignore::UserWarning")  # of pydicom, about these very bytes
def test_bytes_are_kept(work, ct_slice, charset, name, description):
    file = ct_slice(StudyDescription="x")
    for keyword, value in {
        "SpecificCharacterSet": charset,
        "PatientName": name,
        "StudyDescription": description,
        "PatientID": b"P1    ",
    }.items():
        file = splice(file, *ELEMENTS[keyword], value)
    written = work(file, 1.0).write()
    for keyword, element in ELEMENTS.items():
        assert raw(written, *element) == raw(file, *element), keyword


@pytest.mark.parametrize("syntax", ["implicit", "big", "deflated"])
def test_bytes_are_kept_from_every_encoding(work, ct_slice, syntax):
    written = work(ct_slice(syntax=syntax, PatientID="P1"), 1.0).write()
    reference = work(ct_slice(PatientID="P1"), 1.0).write()
    assert written == reference


LONG = {"StrainDescription": "a" * 70_001, "RetrieveURL": "https://example.org/a", "TextValue": "b" * 5}
"""Texts whose VR (UC, UR, UT) has a length of 32 bits."""


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big"])
def test_pydicom_would_have_written_the_same(work, ct_slice, syntax):
    """What is written as it is has heads, lengths and padding as pydicom gives them."""
    made = work(ct_slice(syntax=syntax, PatientID="odd", **LONG), 1.0)
    written = made.write()
    again = io.BytesIO()
    dcmwrite(again, dcmread(io.BytesIO(written)), enforce_file_format=True)
    assert written == again.getvalue()
    found = dcmread(io.BytesIO(written))
    assert {keyword: found[keyword].value for keyword in LONG} == LONG
    assert found.PixelData == made.derived.dataset.PixelData


@pytest.mark.filterwarnings("ignore::UserWarning")  # of pydicom, about this very text
def test_a_text_too_long_for_its_length_becomes_bytes(work, ct_slice):
    """In Implicit VR it could be as long as it liked (PS3.5 6.2.2)."""
    comment = "c" * 70_000
    found = dcmread(io.BytesIO(work(ct_slice(syntax="implicit", ImageComments=comment), 1.0).write()))
    assert (found["ImageComments"].VR, found["ImageComments"].value) == ("UN", comment.encode())

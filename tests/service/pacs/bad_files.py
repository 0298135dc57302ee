"""DICOM instances that a node must not take, and how it says so: items 1 to 15 of the list of bad inputs.

BAD: name -> Bad(make, status, words, hole), for C-STORE and STOW alike      FILES_ONLY: for STOW
TAKEN: name -> make, of odd ones that are fine
make(kit) -> a whole file; kit.ct(stored, ...) makes good ones, kit.compressed(...) compressed ones
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

NOT_UNDERSTOOD, WRONG_CLASS = 0xC000, 0x0122
PIXEL_DATA = b"\xe0\x7f\x10\x00"
SIDE = 64


class Bad(NamedTuple):
    """A file, the status that it gets, the beginning of the reason, and whether it leaves a hole in its series."""

    make: Callable[[Any], bytes]
    status: int
    words: str
    hole: bool = False


def bad(make, words, status=NOT_UNDERSTOOD):
    return Bad(make, status, words)


def hole(make, words):
    return Bad(make, NOT_UNDERSTOOD, words, hole=True)


def attributes(**changes):
    return lambda kit: kit.ct(**changes)


def replaced(old, new, **changes):
    """The bytes of a good file with some of them replaced by as many."""

    def make(kit):
        data = kit.ct(**changes)
        assert data.count(old) == 1, (old, data.count(old))
        assert len(old) == len(new)
        return data.replace(old, new)

    return make


def rescale(keyword, text):
    return replaced(b"-77777", text.ljust(6), **{keyword: "-77777"})


def before_pixels(extra):
    def make(kit):
        data = kit.ct()
        place = data.index(PIXEL_DATA)
        return data[:place] + extra + data[place:]

    return make


def nested(depth):
    item = b""
    for _ in range(depth):
        content = b"\xfe\xff\x00\xe0" + b"\xff" * 4 + item + b"\xfe\xff\x0d\xe0" + bytes(4)
        item = b"\x40\x00\x75\x02SQ\0\0" + b"\xff" * 4 + content + b"\xfe\xff\xdd\xe0" + bytes(4)
    return before_pixels(item)


def deflated(size):
    def make(kit):
        data = kit.ct(syntax="deflated")
        deflate = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
        return kit.meta_of(data) + deflate.compress(bytes(size)) + deflate.flush()

    return make


def rle(rows, columns):
    """Two runs of two bytes, under such a header."""
    runs = struct.pack("<16I", 2, 64, 66, *[0] * 13) + b"\x81\0\x81\0"
    return lambda kit: kit.compressed(runs, RLELossless, Rows=rows, Columns=columns)


def sized(rows, columns):
    """A codestream of JPEG-LS that states another size than the data set."""

    def make(kit):
        lines = kit.jls()
        assert lines[7:11] == struct.pack(">HH", SIDE, SIDE)
        return kit.compressed(lines[:7] + struct.pack(">HH", rows, columns) + lines[11:], JPEGLSLossless)

    return make


def waves(rows, columns):
    """The same of JPEG 2000."""

    def make(kit):
        stream = kit.j2k()
        size = struct.pack(">II", columns, rows)
        return kit.compressed(stream[:8] + size + stream[16:24] + size + stream[32:], JPEG2000Lossless)

    return make


def half(stream):
    return stream[: len(stream) // 2] + bytes(len(stream) - len(stream) // 2)


ROWS_TAG = b"\x28\x00\x10\x00US\x02\x00"
UID_WITH_PATH = b"../../../e/p"
HTML = b"<!DOCTYPE html><html><body>login</body></html>"
NO_DATA_SET = "the DICOM file has no complete data set: it is cut off or damaged"
MALFORMED = "the DICOM file is malformed or truncated"
NO_UNIT = "rescale slope "
SYNTAX = b"1.2.840.10008.1.2.1\0"

BAD: dict[str, Bad] = {
    # 1: no DICOM at all; by C-STORE these are data sets
    "text": bad(lambda _: b"words, and nothing else", ""),
    "HTML": bad(lambda _: HTML, ""),
    "PDF": bad(lambda _: b"%PDF-1.7\n" + bytes(600), ""),
    "PNG": bad(lambda _: b"\x89PNG\r\n\x1a\n" + bytes(600), ""),
    # 4: cut off
    "header cut off": bad(lambda kit: kit.ct()[:700], ""),
    "first elements only": bad(
        lambda kit: kit.ct()[: kit.ct().index(b"\x08\x00\x18\x00")], "StudyInstanceUID is missing or no UID"
    ),
    "pixels cut off": hole(lambda kit: kit.ct()[:-50], ""),
    "no pixels": hole(lambda kit: kit.ct()[: kit.ct().index(PIXEL_DATA)], "the DICOM file holds no pixel data"),
    # 5 to 8: bombs and contradictions
    "deflate bomb": bad(deflated(200 << 20), "the deflated data set has more than the "),
    "deflate cut off": bad(lambda kit: kit.ct(syntax="deflated")[:-400], "the deflated data set of the"),
    "RLE of 65535": hole(rle(65535, 65535), "the image has 65535 rows and 65535 columns"),
    "Rows and Columns of 65535": hole(attributes(Rows=65535, Columns=65535), "the image has 65535 rows"),
    "JPEG-LS of 8192": hole(sized(8192, 8192), "the compressed image has 8192 rows and 8192 columns"),
    "JPEG 2000 of 8192": hole(waves(8192, 8192), "the compressed image has 8192 rows and 8192 columns"),
    "JPEG-LS of other columns": hole(sized(SIDE, SIDE + 1), "the compressed image has 64 rows and 65 columns"),
    "half zeroed JPEG-LS": hole(
        lambda kit: kit.compressed(half(kit.jls()), JPEGLSLossless), "the compressed pixel data have no end marker"
    ),
    "half zeroed JPEG 2000": hole(
        lambda kit: kit.compressed(half(kit.j2k()), JPEG2000Lossless), "the compressed pixel data have no end marker"
    ),
    "empty fragment": hole(lambda kit: kit.compressed(b"", JPEGLSLossless), "the compressed PixelData hold"),
    "another codec": hole(
        lambda kit: kit.compressed(kit.j2k(), JPEGLSLossless), "the compressed pixel data are no JPEG stream"
    ),
    # 9: nesting
    "nested 50 deep": bad(nested(50), "the DICOM file nests sequences more than 32 deep"),
    "nested 500 deep": bad(nested(500), MALFORMED),
    # 10 to 12: attributes
    "Rows 0": hole(attributes(Rows=0), "Rows 0 and Columns 64 must both be at least 1"),
    "BitsAllocated 12": hole(attributes(BitsAllocated=12), "BitsAllocated is 12; 8 and 16 are read"),
    "BitsStored 20": hole(attributes(BitsStored=20), "BitsStored is 20; it must be from 1"),
    "HighBit 3": hole(attributes(HighBit=3), "HighBit is 3; it must be BitsStored - 1"),
    "PixelRepresentation 2": hole(attributes(PixelRepresentation=2), "PixelRepresentation is 2; it must be 0"),
    **{
        f"{keyword} {text.decode()}": Bad(rescale(keyword, text), NOT_UNDERSTOOD, "", hole=True)
        for keyword in ("RescaleIntercept", "RescaleSlope")
        for text in (b"abc", b"nan", b"inf", b"1e400", b"1\\2")
    },
    "RescaleSlope 0": hole(attributes(RescaleSlope="0"), NO_UNIT),
    "RescaleSlope missing": hole(attributes(drop=("RescaleSlope",)), "RescaleSlope is missing or empty"),
    "RescaleIntercept empty": hole(attributes(RescaleIntercept=None), "RescaleIntercept is missing or empty"),
    "RescaleType of another unit": hole(attributes(RescaleType="Z_EFF"), "RescaleType is 'Z_EFF'"),
    "Rows missing": hole(attributes(drop=("Rows",)), "Rows is missing or empty"),
    "PhotometricInterpretation missing": hole(
        attributes(drop=("PhotometricInterpretation",)), "PhotometricInterpretation is ''"
    ),
    "PixelRepresentation missing": hole(attributes(drop=("PixelRepresentation",)), "PixelRepresentation is missing"),
    "a VR that is none": bad(replaced(ROWS_TAG, ROWS_TAG[:4] + b"??" + ROWS_TAG[6:]), ""),
    "a VR of another kind": hole(replaced(ROWS_TAG, ROWS_TAG[:4] + b"LO" + ROWS_TAG[6:]), ""),
    "a length beyond the file": bad(replaced(ROWS_TAG, ROWS_TAG[:6] + b"\xff\x7f"), ""),
    # 13 and 14: no CT slice
    "RGB": hole(attributes(PhotometricInterpretation="RGB", SamplesPerPixel=3), "PhotometricInterpretation is 'RGB'"),
    "PALETTE COLOR": hole(
        attributes(PhotometricInterpretation="PALETTE COLOR"), "PhotometricInterpretation is 'PALETTE COLOR'"
    ),
    "secondary capture": bad(
        attributes(SOPClassUID="1.2.840.10008.5.1.4.1.1.7", Modality="CT"), "it is no CT image", WRONG_CLASS
    ),
    "several frames": hole(attributes(NumberOfFrames=2), "NumberOfFrames is 2, and CT Image Storage has one frame"),
    "negative spacing": hole(attributes(PixelSpacing=["-1", "1"]), "PixelSpacing is -1.0 x 1.0 mm"),
    "padding of 32 bits": hole(
        replaced(b"\x28\x00\x20\x01SS\x02\x00\x88\xff", b"\x28\x00\x20\x01IS\x02\x009a", PixelPaddingValue=-120), ""
    ),
    # 15: UIDs
    "UID with a path": bad(
        replaced(b"9.8.7.6.5.43", UID_WITH_PATH, SeriesInstanceUID="9.8.7.6.5.43"),
        "SeriesInstanceUID is missing or no UID (digits and dots, at",
    ),
    "no StudyInstanceUID": bad(attributes(drop=("StudyInstanceUID",)), "StudyInstanceUID is missing or no UID"),
}


def whole_file(make, words):
    """What only a file can have, and so comes by STOW only."""
    return bad(make, words)


FILES_ONLY: dict[str, Bad] = {
    "odd length": hole(lambda kit: kit.ct()[:-1], "PixelData has 8191 bytes"),
    "empty": whole_file(lambda _: b"", "the file has no DICM prefix"),
    "no preamble": whole_file(lambda kit: kit.ct()[128:], "the file has no DICM prefix"),
    "preamble only": whole_file(lambda kit: kit.ct()[:132], "the DICOM file has no single TransferSyntaxUID"),
    "file meta only": whole_file(lambda kit: kit.meta_of(kit.ct()), NO_DATA_SET),
    "no file meta": whole_file(
        lambda kit: bytes(128) + b"DICM" + kit.data_set_of(kit.ct()), "the DICOM file has no single TransferSyntaxUID"
    ),
    "unknown transfer syntax": whole_file(
        replaced(SYNTAX, b"1.2.840.10008.1.9.9\0"), "transfer syntax '1.2.840.10008.1.9.9' is none"
    ),
    "video": whole_file(replaced(SYNTAX, b"1.2.840.10008.1.1\0\0\0"), "transfer syntax '1.2.840.10008.1.1' is none"),
    "garbage": whole_file(lambda _: bytes(128) + b"DICM" + b"\xff" * 100, ""),
}


def padding_of_another_sign(kit):
    """-2000 for unsigned values."""
    data = kit.as_file(kit.dataset(np.zeros((SIDE, SIDE), np.uint16), PixelPaddingValue=63536))
    assert data.count(b"\x28\x00\x20\x01US") == 1
    return data.replace(b"\x28\x00\x20\x01US", b"\x28\x00\x20\x01SS")


TAKEN: dict[str, Callable[[Any], bytes]] = {
    "trailing garbage": lambda kit: kit.ct() + b"\xfc\xff\xfc\xffOB\0\0\4\0\0\0evil",
    "MONOCHROME1": attributes(PhotometricInterpretation="MONOCHROME1"),
    "padding below air": attributes(PixelPaddingValue=-2000),
    "padding under another sign": padding_of_another_sign,
    "non-square pixels": attributes(PixelSpacing=["0.7", "0.9"]),
    "gantry tilt": attributes(GantryDetectorTilt="20", ImageOrientationPatient=["1", "0", "0", "0", "0.94", "-0.34"]),
    "localizer": attributes(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
    "no position": attributes(drop=("ImagePositionPatient", "ImageOrientationPatient")),
    "Cyrillic": attributes(SpecificCharacterSet="ISO_IR 144", PatientName="\u0418\u0432\u0430\u043d"),
    "Japanese": attributes(
        SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName="Yamada^Tarou=\u5c71\u7530^\u592a\u90ce"
    ),
    "not in its character set": replaced(b"ISO_IR 100", b"ISO_IR 192"),
    "an unknown character set": replaced(b"ISO_IR 100", b"ISO_IR 999"),
}


def compressed_file(kit, stream, syntax, **changes):
    """A CT instance with such a frame."""
    dataset = kit.dataset(np.zeros((SIDE, SIDE), np.uint16), **changes)
    dataset.PixelData = encapsulate([stream]) if stream else 2 * (b"\xfe\xff\x00\xe0" + bytes(4))
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    dataset.file_meta.TransferSyntaxUID = syntax
    return kit.as_file(dataset)

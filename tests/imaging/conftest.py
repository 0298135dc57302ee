"""CT data sets, DICOM and TIFF files, made in memory.

make_ct(stored, Keyword=value or None to leave it out) -> Dataset --as_file--> bytes
make_tiff(stored, ..., t277=(3, [1])) -> bytes
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRBigEndian, ExplicitVRLittleEndian

SERIES_UID = "1.2.3.4"
STUDY_UID = "1.2.3"


def ct_dataset(
    stored: NDArray[Any] | None = None, *, syntax: str = ExplicitVRLittleEndian, bits: int | None = None, **changes: Any
) -> Dataset:
    """A complete single-frame CT data set.

    Args:
        stored: (H, W) of an 8- or 16-bit integer dtype; decides BitsAllocated and PixelRepresentation.
        bits: BitsStored, default all.
        changes: attributes by keyword; None leaves one out.
    """
    stored = np.arange(12, dtype=np.int16).reshape(3, 4) if stored is None else stored
    allocated = stored.dtype.itemsize * 8
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    data = stored.astype(stored.dtype.newbyteorder(order)).tobytes()
    dataset = Dataset()
    attributes: dict[str, Any] = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": "1.2.3.4.5",
        "SeriesInstanceUID": SERIES_UID,
        "StudyInstanceUID": STUDY_UID,
        "PatientID": "P1",
        "Modality": "CT",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "ImagePositionPatient": [0, 0, 0],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [0.5, 0.75],
        "SliceThickness": 2,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": stored.shape[0],
        "Columns": stored.shape[1],
        "BitsAllocated": allocated,
        "BitsStored": allocated if bits is None else bits,
        "HighBit": (allocated if bits is None else bits) - 1,
        "PixelRepresentation": int(stored.dtype.kind == "i"),
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "PixelData": data + b"\0" * (len(data) % 2),
    }
    for keyword, value in {**attributes, **changes}.items():
        if value is not None:
            setattr(dataset, keyword, value)
    if "PixelData" in dataset:
        dataset["PixelData"].VR = "OW"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def as_file(dataset: Dataset) -> bytes:
    """The data set as a DICOM file."""
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


@pytest.fixture(scope="session")
def make_ct() -> Callable[..., Dataset]:
    return ct_dataset


@pytest.fixture(scope="session")
def make_file() -> Callable[..., bytes]:
    """`ct_dataset`, written as a file."""
    return lambda *arguments, **changes: as_file(ct_dataset(*arguments, **changes))


_PACK = {1: "B", 2: "s", 3: "H", 4: "I", 5: "II", 12: "d", 16: "Q"}


def tiff_file(
    *pages: NDArray[Any],
    order: str = "<",
    big: bool = False,
    packed: bytes | None = None,
    loop: int | None = None,
    **changes: tuple[int, Any] | None,
) -> bytes:
    """A TIFF file, byte by byte and by nobody's library: uncompressed, one strip a page.

    Args:
        pages: (H, W) each, any number type.
        packed: the bytes of the strip, instead of those of the page.
        loop: number of the page, from 0, to which the last one points.
        changes: tags as `t277=(3, [1])`, field type and values, of all pages; None leaves one out.
    """
    offset_format = "Q" if big else "I"
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if big else 42)
    head += struct.pack(order + "HH", 8, 0) if big else b""
    start = len(head) + struct.calcsize(offset_format)
    body = bytearray()
    places: list[int] = []
    link = 0  # where the page before says what comes next
    for page in pages:
        data = page.astype(page.dtype.newbyteorder(order)).tobytes() if packed is None else packed
        kind = {"u": 1, "i": 2, "f": 3}[page.dtype.kind]
        tags: dict[int, tuple[int, Any] | None] = {
            256: (4, [page.shape[1]]),
            257: (4, [page.shape[0]]),
            258: (3, [page.dtype.itemsize * 8]),
            259: (3, [1]),
            262: (3, [1]),
            273: (4, [start + len(body)]),
            277: (3, [1]),
            278: (4, [page.shape[0]]),
            279: (4, [len(data)]),
            339: (3, [kind]),
        }
        tags |= {int(name[1:]): value for name, value in changes.items()}
        body += data + b"\0" * (len(data) % 2)
        entries = b""
        for tag, value in sorted(tags.items()):
            if value is None:
                continue
            field, values = value
            raw = (
                bytes(values)
                if isinstance(values, (bytes, bytearray))
                else b"".join(
                    struct.pack(order + _PACK[field], *(one if isinstance(one, tuple) else (one,))) for one in values
                )
            )
            if len(raw) > struct.calcsize(offset_format):
                place = struct.pack(order + offset_format, start + len(body))
                body += raw + b"\0" * (len(raw) % 2)
            else:
                place = raw.ljust(struct.calcsize(offset_format), b"\0")
            entries += struct.pack(order + "HH" + offset_format, tag, field, len(values)) + place
        count = sum(value is not None for value in tags.values())
        places.append(start + len(body))
        body += struct.pack(order + ("Q" if big else "H"), count) + entries + bytes(struct.calcsize(offset_format))
        if len(places) > 1:
            struct.pack_into(order + offset_format, body, link, places[-1])
        link = len(body) - struct.calcsize(offset_format)
    if loop is not None:
        struct.pack_into(order + offset_format, body, link, places[loop])
    first = places[0] if places else 0
    return head + struct.pack(order + offset_format, first) + bytes(body)


@pytest.fixture(scope="session")
def make_tiff() -> Callable[..., bytes]:
    """`tiff_file`, for tests in other modules."""
    return tiff_file

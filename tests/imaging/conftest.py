"""CT data sets and files, made in memory.

make_ct(stored, Keyword=value or None to leave it out) -> Dataset --as_file--> bytes
"""

from __future__ import annotations

import io
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

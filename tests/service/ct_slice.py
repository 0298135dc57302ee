"""A synthetic single-frame CT instance, made in memory.

make_ct(stored, syntax=..., Keyword=value) -> Dataset --ct_bytes--> bytes
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

SYNTAXES = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "big": ExplicitVRBigEndian,
}


def make_ct(
    stored: NDArray[Any] | None = None, *, syntax: str = "explicit", drop: tuple[str, ...] = (), **attributes: Any
) -> Dataset:
    """A complete synthetic CT data set with file meta; `attributes` replace or add, `drop` removes."""
    if stored is None:
        stored = np.random.default_rng(7).integers(-200, 1500, (12, 16)).astype(np.int16)
    signed = stored.dtype.kind == "i"
    bits = stored.dtype.itemsize * 8
    ds = Dataset()
    values: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 100",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "HELIX"],
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": "1.2.3.4.5",
        "StudyDate": "20250102",
        "SeriesDate": "20250102",
        "AcquisitionDate": "20250102",
        "ContentDate": "20250102",
        "StudyTime": "101112",
        "SeriesTime": "101113",
        "AcquisitionTime": "101114",
        "ContentTime": "101115",
        "AccessionNumber": "A1",
        "Modality": "CT",
        "Manufacturer": "SCANNERS INC",
        "InstitutionName": "Hospital",
        "ReferringPhysicianName": "Doe^Jane",
        "StationName": "CT01",
        "SeriesDescription": "Thorax 5.0",
        "ManufacturerModelName": "Spiral 9",
        "PatientName": "M\xfcller^Hans",
        "PatientID": "P1",
        "PatientBirthDate": "19500101",
        "PatientSex": "M",
        "SliceThickness": "5",
        "KVP": "120",
        "DeviceSerialNumber": "SN1",
        "SoftwareVersions": "v1",
        "ConvolutionKernel": "B31f",
        "PatientPosition": "HFS",
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.4",
        "StudyID": "1",
        "SeriesNumber": "2",
        "AcquisitionNumber": "1",
        "InstanceNumber": "7",
        "ImagePositionPatient": ["-100", "-100", "35.5"],
        "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
        "FrameOfReferenceUID": "1.2.3.9",
        "PositionReferenceIndicator": "",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": stored.shape[0],
        "Columns": stored.shape[1],
        "PixelSpacing": ["0.7", "0.7"],
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(signed),
        "WindowCenter": "40",
        "WindowWidth": "400",
        "RescaleIntercept": "-1024",
        "RescaleSlope": "1",
    }
    for keyword, value in {**values, **attributes}.items():
        if keyword not in drop:
            setattr(ds, keyword, value)
    order = ">" if syntax == "big" else "<"
    data = stored.astype(stored.dtype.newbyteorder(order)).tobytes()
    ds.add_new("PixelData", "OW" if bits > 8 else "OB", data + b"\0" * (len(data) % 2))
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = SYNTAXES[syntax]
    ds.file_meta.MediaStorageSOPClassUID = ds.get("SOPClassUID", CTImageStorage)
    ds.file_meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID", "1.2.3.4.5")
    return ds


def ct_bytes(dataset: Dataset) -> bytes:
    """A DICOM file of a data set from `make_ct`."""
    file = io.BytesIO()
    dataset.preamble = b"\0" * 128
    dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()

"""Volumes of a phantom -> files as a CT scanner writes them, which say that they are no patient's.

    (N, H, W) HU --12 bits, intercept -1024--> stored values --PhantomSeries--> N instances of one series, as bytes

CT Image Storage after PS3.3 A.3, with every attribute of types 1 and 2. ImageType is ORIGINAL: the pixels are computed
from the description of a scene, not from other images (C.7.6.1.1.2). QualityControlImage says that it is a phantom, and
names, descriptions and manufacturer say so too. The date is always the same one, since nothing happened at a time, and
so the same volume is the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import uuid
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from imaging.pixel_encoding import PixelEncoding, stored_values_to_bytes

NAMESPACE = uuid.UUID("0f6c1d52-8a5e-4f0b-9a53-6f1f9a2f7f0e")
"""Of all UIDs below; random once, and never changed."""

ENCODING = PixelEncoding(bits_allocated=16, bits_stored=12, signed=False)
INTERCEPT = -1024
"""The usual encoding of CT scanners: HU from -1024 to 3071."""

MANUFACTURER = "Clearslice"
MODEL = "Simulated phantom, not a patient"
DATE, TIME = "20000101", "000000"
"""Of every study: archives sort by it and DICOMDIR needs it, so that none would be worse than an invented one."""

KVP = 120
EXPOSURE_TIME_MS = 500
WINDOW_CENTER, WINDOW_WIDTH = 40, 400
"""The soft-tissue window, [-160, 240] HU, for viewers."""


@dataclass(frozen=True)
class PhantomSeries:
    """What the instances of a series share.

    Attributes:
        patient: PatientID, and what UIDs are made of: phantoms of one name are one patient.
        study: which study of that patient; equal for series that belong together. Only UIDs are made of it.
        description: SeriesDescription, at most 64 characters.
        number: SeriesNumber.
        spacing: (between rows, between columns) in mm.
        thickness: of a slice, and from one to the next, in mm.
        region: BodyPartExamined, such as ABDOMEN.
        kernel: ConvolutionKernel, at most 16 characters.
        tube_current_ma: in proportion to the dose, in whole mA.
    """

    patient: str
    study: str
    description: str
    number: int
    spacing: tuple[float, float]
    thickness: float
    region: str = "ABDOMEN"
    kernel: str = "STANDARD"
    tube_current_ma: int = 200


def to_stored(hu: NDArray[np.floating]) -> NDArray[np.uint16]:
    """Stored values of HU of any shape: rounded, and clipped to what 12 bits hold."""
    stored: NDArray[np.uint16] = np.rint(hu - INTERCEPT).clip(ENCODING.low, ENCODING.high).astype(np.uint16)
    return stored


def series_files(volume: NDArray[np.floating], series: PhantomSeries) -> list[bytes]:
    """One DICOM file for each slice of a volume, from feet to head, around the origin of the patient's axes.

    Equal arguments give equal bytes, and a UID never stands for two different sets of pixels.

    Args:
        volume: (N, H, W) in HU.
        series: what the slices share.

    Raises:
        ValueError: `volume` is not (N, H, W), or is empty.
    """
    if volume.ndim != 3 or volume.size == 0:  # noqa: PLR2004 - N, H, W
        raise ValueError(f"volume must be a non-empty (N, H, W) array, not {volume.shape}")
    pixels = [stored_values_to_bytes(stored, ENCODING) for stored in to_stored(volume)]
    digest = hashlib.sha256(b"".join(pixels)).hexdigest()
    series_uid = _uid("series", repr(series), str(volume.shape), digest)
    files = []
    for index, data in enumerate(pixels):
        ds = _of_series(series, volume.shape[1:])
        ds.SeriesInstanceUID, ds.SOPInstanceUID = series_uid, _uid("instance", series_uid, str(index))
        ds.InstanceNumber = index + 1
        position = (index - len(pixels) // 2) * series.thickness
        ds.ImagePositionPatient = _decimals(*_first_pixel(series.spacing, volume.shape[1:]), position)
        ds.SliceLocation = _decimals(position)
        ds.PixelData = data
        ds["PixelData"].VR = "OW"
        files.append(_file(ds))
    return files


def _of_series(series: PhantomSeries, shape: tuple[int, ...]) -> Dataset:
    """All attributes but those that differ from slice to slice."""
    study_uid = _uid("study", series.patient, series.study)
    ds = Dataset()
    ds.SOPClassUID, ds.Modality = CTImageStorage, "CT"
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.PatientName, ds.PatientID = f"Phantom^{series.region.title()}", series.patient
    ds.StudyInstanceUID, ds.StudyID, ds.StudyDescription = study_uid, "1", "Simulated CT of a phantom"
    ds.StudyDate, ds.StudyTime = DATE, TIME
    ds.PatientBirthDate = ds.PatientSex = ds.AccessionNumber = ds.ReferringPhysicianName = ""
    ds.PositionReferenceIndicator = ""
    ds.FrameOfReferenceUID = _uid("frame of reference", series.patient, series.study)
    ds.SeriesNumber, ds.SeriesDescription = series.number, series.description
    ds.BodyPartExamined, ds.PatientPosition = series.region, "HFS"
    ds.Manufacturer, ds.ManufacturerModelName = MANUFACTURER, MODEL
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.QualityControlImage, ds.BurnedInAnnotation, ds.LossyImageCompression = "YES", "NO", "00"
    ds.AcquisitionNumber = series.number
    ds.KVP, ds.ConvolutionKernel = KVP, series.kernel
    ds.XRayTubeCurrent, ds.ExposureTime = series.tube_current_ma, EXPOSURE_TIME_MS
    ds.Exposure = round(series.tube_current_ma * EXPOSURE_TIME_MS / 1000)
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing, ds.SliceThickness = _decimals(*series.spacing), _decimals(series.thickness)
    ds.Rows, ds.Columns = shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = (
        ENCODING.bits_allocated,
        ENCODING.bits_stored,
        ENCODING.bits_stored - 1,
    )
    ds.PixelRepresentation = int(ENCODING.signed)
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1, INTERCEPT, "HU"
    ds.WindowCenter, ds.WindowWidth = WINDOW_CENTER, WINDOW_WIDTH
    return ds


def _first_pixel(spacing: tuple[float, float], shape: tuple[int, ...]) -> tuple[float, float]:
    """x and y of the centre of the first pixel, in mm, of a slice around the origin."""
    return -(shape[1] - 1) / 2 * spacing[1], -(shape[0] - 1) / 2 * spacing[0]


def _decimals(*lengths: float) -> list[float]:
    """Lengths in mm with nine digits: a decimal string (DS) has at most 16 characters, sign and exponent among them."""
    return [float(f"{length:.9g}") for length in lengths]


def _file(ds: Dataset) -> bytes:
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = io.BytesIO()
    ds.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _uid(*parts: str) -> str:
    return f"2.25.{uuid.uuid5(NAMESPACE, chr(10).join(parts)).int}"

"""One CT data set -> one slice: its pixels, and what places it among others.

    Dataset --image_from_dataset--> Image --(UIDs? geometry?)--> CtSlice
                                            UnsuitableImage

What only describes the image (kernel, voltage, thickness) may be missing or malformed; what places it may not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from imaging.dicom_attributes import decimals, text, values
from imaging.dicom_file import SourceInstance
from imaging.dicom_pixels import image_from_dataset
from imaging.errors import UnsuitableImage

ORTHONORMAL = 0.01
"""Largest error of the scalar products of the direction cosines, which some devices write with few digits."""


@dataclass(frozen=True, eq=False)
class CtSlice:
    """One slice in HU with what places it in a series.

    Attributes:
        sop_uid, series_uid, study_uid: its UIDs, never empty.
        patient_id: PatientID, empty when missing. Patient data: for comparing, not for printing.
        pixels: (H, W) float32 in HU; padding holds -1000.
        padding: (H, W) bool or None, as in `Image`.
        spacing: (between rows, between columns) in mm.
        origin: (3,) ImagePositionPatient in mm, the centre of the first pixel.
        axes: (2, 3) direction cosines along a row and along a column.
        thickness: SliceThickness in mm, or None.
        kernel: ConvolutionKernel, several values joined by a slash; empty when missing.
        kvp: tube voltage in kV, or None.
        manufacturer: empty when missing.
        declared_tilt: GantryDetectorTilt in degrees, 0 when missing.
    """

    sop_uid: str
    series_uid: str
    study_uid: str
    patient_id: str
    pixels: NDArray[np.float32]
    padding: NDArray[np.bool_] | None
    spacing: tuple[float, float]
    origin: NDArray[np.float64]
    axes: NDArray[np.float64]
    thickness: float | None
    kernel: str
    kvp: float | None
    manufacturer: str
    declared_tilt: float


def slice_from_dataset(dataset: SourceInstance, *, max_pixels: int) -> CtSlice:
    """One slice of a series.

    Args:
        dataset: from `read_dicom`, so that all its elements are converted.
        max_pixels: rows x columns.

    Raises:
        UnsuitableImage: UIDs, position, orientation or spacing are missing or malformed.
        ImagingError: what `image_from_dataset` raises.
    """
    image = image_from_dataset(dataset, max_pixels=max_pixels)
    origin = decimals(dataset, "ImagePositionPatient", count=3)
    axes = np.array(decimals(dataset, "ImageOrientationPatient", count=6)).reshape(-1, 3)
    if not origin or not axes.size or image.spacing is None:
        raise UnsuitableImage("ImagePositionPatient, ImageOrientationPatient and PixelSpacing are needed in a series")
    if np.abs(axes @ axes.T - np.eye(2)).max() > ORTHONORMAL:
        raise UnsuitableImage("ImageOrientationPatient must be two perpendicular vectors of length 1")
    uids = [text(dataset, keyword) for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")]
    if not all(uids):
        raise UnsuitableImage("SOPInstanceUID, SeriesInstanceUID and StudyInstanceUID are needed in a series")
    thickness = _optional(dataset, "SliceThickness")
    return CtSlice(
        sop_uid=uids[0],
        series_uid=uids[1],
        study_uid=uids[2],
        patient_id=text(dataset, "PatientID"),
        pixels=image.pixels,
        padding=image.padding,
        spacing=image.spacing,
        origin=np.array(origin),
        axes=axes,
        thickness=thickness if thickness is not None and thickness > 0 else None,
        kernel="/".join(str(value).strip() for value in values(dataset, "ConvolutionKernel")),
        kvp=_optional(dataset, "KVP"),
        manufacturer=text(dataset, "Manufacturer"),
        declared_tilt=_optional(dataset, "GantryDetectorTilt") or 0.0,
    )


def _optional(dataset: Dataset, keyword: str) -> float | None:
    """A number that only describes the image; a malformed one counts as not stated."""
    try:
        numbers = decimals(dataset, keyword, count=1)
    except UnsuitableImage:
        return None
    return numbers[0] if numbers else None

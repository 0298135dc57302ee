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

from imaging.dicom_attributes import decimals, optional_decimal, text, values
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
    place = place_of(dataset)
    if place is None or image.spacing is None:
        raise UnsuitableImage("ImagePositionPatient, ImageOrientationPatient and PixelSpacing are needed in a series")
    origin, axes = place
    uids = [text(dataset, keyword) for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")]
    if not all(uids):
        raise UnsuitableImage("SOPInstanceUID, SeriesInstanceUID and StudyInstanceUID are needed in a series")
    return CtSlice(
        sop_uid=uids[0],
        series_uid=uids[1],
        study_uid=uids[2],
        patient_id=text(dataset, "PatientID"),
        pixels=image.pixels,
        padding=image.padding,
        spacing=image.spacing,
        origin=origin,
        axes=axes,
        thickness=thickness_of(dataset),
        kernel="/".join(str(value).strip() for value in values(dataset, "ConvolutionKernel")),
        kvp=optional_decimal(dataset, "KVP"),
        manufacturer=text(dataset, "Manufacturer"),
        declared_tilt=optional_decimal(dataset, "GantryDetectorTilt") or 0.0,
    )


def place_of(dataset: Dataset) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """ImagePositionPatient, (3,) in mm, and the direction cosines along a row and along a column, (2, 3).

    Args:
        dataset: from `read_dicom`, or one that has these two of its attributes.

    Returns:
        None where one of the two is missing.

    Raises:
        UnsuitableImage: one of the two is malformed.
    """
    origin = decimals(dataset, "ImagePositionPatient", count=3)
    axes = np.array(decimals(dataset, "ImageOrientationPatient", count=6)).reshape(-1, 3)
    if not origin or not axes.size:
        return None
    if np.abs(axes @ axes.T - np.eye(2)).max() > ORTHONORMAL:
        raise UnsuitableImage("ImageOrientationPatient must be two perpendicular vectors of length 1")
    return np.array(origin), axes


def normal_of(axes: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3,) the normal of a slice, along which slices are ordered, of its direction cosines (2, 3)."""
    return np.cross(axes[0], axes[1])


def thickness_of(dataset: Dataset) -> float | None:
    """SliceThickness in mm; None where it is missing, malformed or not positive."""
    thickness = optional_decimal(dataset, "SliceThickness")
    return thickness if thickness is not None and thickness > 0 else None

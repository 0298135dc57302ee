"""A folder or archive of DICOM -> CT series: volumes in HU, ordered along the normal of their slices, checked.

    path --ct_files--> data sets --> slices --group by SeriesInstanceUID-->
    --(one patient, orientation, size, spacing?)--> sort by position --(doubled? gaps?)--> CtSeries
       UnsuitableImage                                                UnsuitableImage, warnings

InstanceNumber is not used: it says in which order a scanner stored slices, not where they are. What is left out is
counted in the log.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imaging.archive import DEFAULT_LIMITS, ArchiveLimits
from imaging.ct_files import MAX_PIXELS, LeftOut, ct_files, located
from imaging.ct_slice import CtSlice, normal_of, slice_from_dataset
from imaging.errors import UnsuitableImage

log = logging.getLogger(__name__)

GAP_FACTOR = 1.5
"""A distance is a gap when it is this many times both the median distance and the thickness of the slices there, so
that neither a series of thin slices far apart nor one whose thickness changes has gaps everywhere."""

SAME_POSITION_MM = 0.01
"""Closer slices are doubled; the thinnest CT slices are 0.2 mm apart."""

SAME_DIRECTION = 1e-3
"""Largest difference of direction cosines of one orientation; written numbers are rounded to 6 digits or fewer."""

SAME_SPACING = 1e-4
"""Largest relative difference of pixel spacings, for the same reason."""


@dataclass(frozen=True, eq=False)
class CtSeries:
    """One series of N parallel slices of H x W pixels. Arrays are read-only.

    Attributes:
        name: of the folder or zip file; with `-1`, `-2` ... where it holds several series.
        patient: 16 hex digits of the SHA-256 of PatientID: equal for the same patient, and safe to print. It is a
            pseudonym, not an anonymisation: who can guess an ID can check the guess.
        series_uid: SeriesInstanceUID.
        volume: (N, H, W) float32 in HU, by ascending position; padding holds -1000.
        padding: (N, H, W) bool, True where there is no measurement, or None when every pixel is one.
        spacing: (between rows, between columns) in mm.
        slice_thickness: in mm, the smallest where they differ, or None when not stated.
        positions: (N,) float64, mm along the normal, strictly ascending.
        gaps: indices i with an unusually large distance between slices i and i + 1 (see `GAP_FACTOR`).
        tilt: degrees between the normal and the line through the slices, 0 without gantry tilt.
        kernel: ConvolutionKernel, empty when not stated.
        kvp: tube voltage in kV, or None.
        manufacturer: of the scanner, empty when not stated.
        warnings: what was tolerated, as sentences without patient data.
    """

    name: str
    patient: str
    series_uid: str
    volume: NDArray[np.float32]
    padding: NDArray[np.bool_] | None
    spacing: tuple[float, float]
    slice_thickness: float | None
    positions: NDArray[np.float64]
    gaps: tuple[int, ...]
    tilt: float
    kernel: str
    kvp: float | None
    manufacturer: str
    warnings: tuple[str, ...]


def read_series(path: Path, limits: ArchiveLimits = DEFAULT_LIMITS) -> list[CtSeries]:
    """All CT series in `path`.

    Args:
        path: a folder (read recursively, archives in it are not opened), a zip or tar file, or one DICOM file.
        limits: of the whole folder or zip file.

    Returns:
        At least one series, in the order of the first file of each.

    Raises:
        NotAnImage, UnsupportedFormat, TooLarge: see `read_members`, `read_dicom`, `slice_from_dataset`; the message
            counts files in the order of their names.
        UnsuitableImage: no CT image in it, or slices that are no series: mixed patients, studies, orientations, sizes
            or spacings, a position or an instance twice, missing geometry.
    """
    groups: dict[str, list[CtSlice]] = {}
    left_out = LeftOut()
    for place, _, dataset in ct_files(path, limits, left_out):
        with located(place):
            found = slice_from_dataset(dataset, max_pixels=MAX_PIXELS)
        groups.setdefault(found.series_uid, []).append(found)
    for kind, count in left_out.counts().items():
        log.warning("left out %d files: %s", count, kind)
    if not groups:
        raise left_out.refusal()
    stem = path.resolve().name if path.is_dir() else path.stem
    names = [stem] if len(groups) == 1 else [f"{stem}-{number}" for number in range(1, len(groups) + 1)]
    return [
        _series(name, slices, left_out.localizers.get(uid, 0))
        for name, (uid, slices) in zip(names, groups.items(), strict=True)
    ]


def _series(name: str, slices: list[CtSlice], localizers: int) -> CtSeries:
    _check_alike(slices)
    first = slices[0]
    normal = normal_of(first.axes)
    slices = sorted(slices, key=lambda one: float(one.origin @ normal))
    positions = np.array([one.origin @ normal for one in slices])
    distances = np.diff(positions)
    if (distances < SAME_POSITION_MM).any():
        where = positions[int(distances.argmin())]
        raise UnsuitableImage(
            f"two slices of one series lie at the same position, {where:.2f} mm along the normal;"
            " leave one of them out, or give repeated scans series of their own"
        )
    gaps = _gaps(slices, distances)
    volume = np.stack([one.pixels for one in slices])
    padding = None
    if any(one.padding is not None for one in slices):
        padding = np.stack(
            [np.zeros(one.pixels.shape, np.bool_) if one.padding is None else one.padding for one in slices]
        )
        padding.flags.writeable = False
    for array in (volume, positions):
        array.flags.writeable = False
    thicknesses = sorted({one.thickness for one in slices if one.thickness is not None})
    tilt = _tilt(slices, normal)
    return CtSeries(
        name=name,
        patient=_pseudonym(first),
        series_uid=first.series_uid,
        volume=volume,
        padding=padding,
        spacing=first.spacing,
        slice_thickness=thicknesses[0] if thicknesses else None,
        positions=positions,
        gaps=gaps,
        tilt=tilt,
        kernel=first.kernel,
        kvp=first.kvp,
        manufacturer=first.manufacturer,
        warnings=tuple(_warnings(slices, gaps, tilt, thicknesses, localizers)),
    )


def _gaps(slices: list[CtSlice], distances: NDArray[np.float64]) -> tuple[int, ...]:
    if not distances.size:
        return ()
    thickness = [max(one.thickness or 0, other.thickness or 0) for one, other in pairwise(slices)]
    usual = np.maximum(np.median(distances), thickness)
    return tuple(int(index) for index in np.flatnonzero(distances > GAP_FACTOR * usual))


def _check_alike(slices: list[CtSlice]) -> None:
    first = slices[0]
    if len({one.sop_uid for one in slices}) < len(slices):
        raise UnsuitableImage("a series holds an instance (SOPInstanceUID) twice; leave one of them out")
    for keyword in ("patient_id", "study_uid"):
        if len({getattr(one, keyword) for one in slices}) > 1:
            what = "patients" if keyword == "patient_id" else "studies"
            raise UnsuitableImage(
                f"a series mixes {what}, although its SeriesInstanceUID is the same; correct the files"
            )
    for one in slices:
        if np.abs(one.axes - first.axes).max() > SAME_DIRECTION:
            raise UnsuitableImage(
                "the slices of a series have several orientations (ImageOrientationPatient); split it"
            )
        if one.pixels.shape != first.pixels.shape:
            raise UnsuitableImage(
                f"a series has slices of {first.pixels.shape} and {one.pixels.shape} pixels; split it"
            )
        if not np.allclose(one.spacing, first.spacing, rtol=SAME_SPACING, atol=0):
            raise UnsuitableImage(
                f"a series has slices with PixelSpacing {first.spacing} and {one.spacing} mm; split it"
            )


def _tilt(slices: list[CtSlice], normal: NDArray[np.float64]) -> float:
    """Degrees between the normal and the line through the first and last origin; a single slice only declares it."""
    line = slices[-1].origin - slices[0].origin
    length = float(np.linalg.norm(line))
    if length == 0:
        return abs(slices[0].declared_tilt)
    sine = np.linalg.norm(np.cross(line / length, normal))
    return math.degrees(math.asin(min(1.0, float(sine))))


def _pseudonym(one: CtSlice) -> str:
    source = one.patient_id or f"study {one.study_uid}"
    return hashlib.sha256(source.encode()).hexdigest()[:16]


def _warnings(
    slices: list[CtSlice], gaps: tuple[int, ...], tilt: float, thicknesses: list[float], localizers: int
) -> Iterable[str]:
    if localizers:
        yield f"{localizers} localizers were left out"
    if gaps:
        yield f"{len(gaps)} gaps between slices, after {', '.join(map(str, gaps))} (counted from 0)"
    if tilt > math.degrees(SAME_DIRECTION):
        yield f"the gantry was tilted by {tilt:.1f} degrees: the slices are not stacked along their normal"
    if len(thicknesses) > 1:
        yield f"SliceThickness varies from {thicknesses[0]} to {thicknesses[-1]} mm; the smallest is taken"
    if len({one.kernel for one in slices}) > 1 or len({one.kvp for one in slices}) > 1:
        yield "ConvolutionKernel or KVP varies; those of the first slice are taken"
    if not slices[0].patient_id:
        yield "PatientID is missing; the study stands for the patient"

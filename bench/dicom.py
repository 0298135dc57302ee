"""What the DICOM file around a slice costs: one thread's CPU time, without the model.

phantom in a scanner's file --decode--> Image --encode--> derived instance
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.data import get_testdata_file

from imaging.formats import Frames, Limits
from model_store.restorer import Restorer
from service import pipeline
from service.dicom.eligibility import check_source
from service.intake import decode_pair
from service.settings import SiteConventions

LIMITS = Limits(max_bytes=2**24, max_pixels=2**22)
SLICES = 25
"""Enough for a median, and a quarter of a second."""


def phantom_file(hounsfield: NDArray[np.float32]) -> bytes:
    """A CT file with the attributes that a scanner wrote, pydicom's sample, and a phantom's pixels (H, W) in HU."""
    dataset = dcmread(get_testdata_file("CT_small.dcm", download=False))
    dataset.Rows, dataset.Columns = hounsfield.shape
    stored = np.rint((hounsfield - float(dataset.RescaleIntercept)) / float(dataset.RescaleSlope))
    dataset.PixelData = stored.astype("<i2").tobytes()
    file = io.BytesIO()
    dataset.save_as(file)
    return file.getvalue()


def decode_and_encode_ms(restorer: Restorer, file: bytes) -> tuple[float, float]:
    """Milliseconds to decode a slice, and to encode the one derived from it."""
    version, conventions = restorer.version, SiteConventions()

    def decode() -> Frames:
        frames, _ = decode_pair(file, None, limits=LIMITS, rescale=None)
        assert frames.first.dataset is not None  # noqa: S101 - it came from DICOM
        check_source(frames.first.dataset, conventions)
        return frames

    frames = decode()
    image = frames.first
    batch = restorer(pipeline.to_batch(image))

    def encode() -> pipeline.Encoded:
        return pipeline.encode(
            frames,
            [pipeline.blend(image, pipeline.checked(batch, image, version.ref), 1.0)],
            "dicom",
            derivation=pipeline.derivation_of(version, 1.0, precision=restorer.precision),
            conventions=conventions,
            series=pipeline.SeriesContext(now=datetime.now(UTC)),
        )

    return _median_ms(decode), _median_ms(encode)


def _median_ms(work: Callable[[], object]) -> float:
    found = []
    for _ in range(SLICES):
        begin = time.thread_time()
        work()
        found.append(1000 * (time.thread_time() - begin))
    return median(found)

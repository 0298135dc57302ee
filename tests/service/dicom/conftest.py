"""Derived instances made from data sets in memory."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.filewriter import dcmwrite

from imaging.dicom_pixels import image_from_dataset, read_dicom
from imaging.formats import Limits, decode
from imaging.image import Image
from service.dicom import rules
from service.dicom.derive import derive
from service.dicom.derived_instance import Derived
from service.dicom.enhanced import derive_frames
from service.dicom.file_writer import write_instance
from service.dicom.identity import Derivation
from service.settings import SiteConventions

LIMITS = Limits(max_bytes=10**8, max_pixels=10**7, max_frames=64)
NOW = datetime(2026, 3, 4, 5, 6, 7, 890000, tzinfo=UTC)
WEIGHTS = "0123456789abcdef" * 4


def derivation(**changes: Any) -> Derivation:
    """ct-tiny@1 at strength 1, or otherwise."""
    fields: dict[str, Any] = {
        "model": "ct-tiny",
        "version": 1,
        "weights_sha256": WEIGHTS,
        "strength": 1.0,
        "program": "clearslice 0.1.0",
        "precision": "float32",
    }
    return Derivation(**{**fields, **changes})


def write(dataset: Dataset) -> bytes:
    """A file of a data set that has file meta."""
    file = io.BytesIO()
    dataset.preamble = b"\0" * 128
    dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


class Work:
    """One derivation from beginning to end: `image`, `derived` and `written`, the file read back."""

    def __init__(
        self,
        file: bytes,
        change: float | Callable[[Image], Any] = 0.0,
        *,
        conventions: SiteConventions | None = None,
        series_begun: datetime | None = None,
        as_hounsfield: bool = False,
        **changes: Any,
    ) -> None:
        self.file = file
        self.image = image_from_dataset(read_dicom(file, limits=LIMITS), max_pixels=LIMITS.max_pixels)
        restored = change(self.image) if callable(change) else self.image.pixels + np.float32(change)
        self.derived: Derived = derive(
            self.image,
            restored.astype(np.float32),
            derivation(**changes),
            conventions or SiteConventions(),
            now=NOW,
            series_begun=series_begun,
            as_hounsfield=as_hounsfield,
        )

    def write(self) -> bytes:
        """The derived file; the derived data set is used up."""
        assert self.image.dataset is not None
        return write_instance(self.derived, self.image.dataset)

    def written(self) -> Dataset:
        """The derived file, read by pydicom."""
        return dcmread(io.BytesIO(self.write()))


class FramesWork:
    """One derivation of a multi-frame instance: `frames`, `derived` and `written`, the file read back."""

    def __init__(
        self,
        file: bytes,
        change: float | Callable[[Image, int], Any] = 0.0,
        *,
        conventions: SiteConventions | None = None,
        as_hounsfield: bool = False,
        **changes: Any,
    ) -> None:
        self.file = file
        self.frames = decode(file, limits=LIMITS)
        self.derived: Derived = derive_frames(
            self.frames.images,
            [
                (change(image, number) if callable(change) else image.pixels + np.float32(change)).astype(np.float32)
                for number, image in enumerate(self.frames)
            ],
            derivation(**changes),
            conventions or SiteConventions(),
            now=NOW,
            as_hounsfield=as_hounsfield,
        )

    def findings(self) -> tuple[str, ...]:
        """What our rules find."""
        source = self.frames.first.dataset
        assert source is not None
        return rules.findings(source, self.derived.dataset, padding=self.frames.padding)

    def write(self) -> bytes:
        """The derived file; the derived data set is used up."""
        source = self.frames.first.dataset
        assert source is not None
        return write_instance(self.derived, source)

    def written(self) -> Dataset:
        """The derived file, read by pydicom."""
        return dcmread(io.BytesIO(self.write()))


@pytest.fixture(scope="session")
def frames_work() -> type[FramesWork]:
    """`FramesWork`, for the tests beside this file."""
    return FramesWork


@pytest.fixture(scope="session")
def work() -> type[Work]:
    """`Work`, for the tests beside this file."""
    return Work


@pytest.fixture(scope="session")
def to_file() -> Callable[[Dataset], bytes]:
    """`write`, for the tests beside this file."""
    return write

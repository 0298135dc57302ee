"""Derived instances of pydicom's sample files: dciodvfy must find nothing in them that it did not in the source."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pydicom.data
import pytest

from service.dicom import rules

BUNDLED = (
    "CT_small.dcm",
    "dicomdirtests/77654033/CT2/17106",
    "dicomdirtests/98892001/CT5N/2062",
)


def bundled(name: str) -> bytes:
    return (Path(pydicom.data.__file__).parent / "test_files" / name).read_bytes()


def half_way_to_water(image):
    return image.pixels * np.float32(0.5)


def into_metal(image):
    restored = image.pixels.copy()
    restored[3, 4] = 20000
    return restored


@pytest.mark.peer
@pytest.mark.parametrize("change", [half_way_to_water, into_metal])
@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_ct_files(work, new_findings, name, change):
    file = bundled(name)
    assert new_findings(file, work(file, change).write()) == set()


@pytest.mark.peer
def test_the_comparison_does_find(work, new_findings):
    file = bundled("CT_small.dcm")
    made = work(file, half_way_to_water)
    del made.derived.dataset.ImageType
    assert any("ImageType" in line for line in new_findings(file, made.write()))


@pytest.mark.parametrize("name", BUNDLED)
def test_an_identity_gives_back_every_stored_value_of_bundled_slices(work, name):
    file = bundled(name)
    made = work(file, 0.0)
    assert rules.findings(made.image.dataset, made.derived.dataset, padding=made.image.padding) == ()
    np.testing.assert_array_equal(made.written().pixel_array, pydicom.dcmread(io.BytesIO(file)).pixel_array)

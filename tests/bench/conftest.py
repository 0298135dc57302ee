"""A phantom series of a few slices with its unit noise, made once."""

from __future__ import annotations

import numpy as np
import pytest

from imaging.phantom import trunk
from imaging.series import CtSeries
from training.data.pairs import prepare_series

SIDE, SPACING = 192, (1.9, 1.9)


@pytest.fixture(scope="session")
def phantom_for_bench(tmp_path_factory):
    """(series, prepared), two abdominal slices without noise."""
    rng = np.random.default_rng(0)
    volume = np.stack([trunk((SIDE, SIDE), SPACING, rng) for _ in range(2)]).astype(np.float32)
    series = CtSeries(
        name="phantom",
        patient="p",
        series_uid="1.2.3",
        volume=volume,
        padding=None,
        spacing=SPACING,
        slice_thickness=5.0,
        positions=5.0 * np.arange(2, dtype=np.float64),
        gaps=(),
        tilt=0.0,
        kernel="",
        kvp=None,
        manufacturer="",
        warnings=(),
    )
    return series, prepare_series(series, tmp_path_factory.mktemp("cache"), average=False)


@pytest.fixture(scope="session")
def prepared_for_bench(phantom_for_bench):
    """The series as roles give them."""
    return [phantom_for_bench[1]]

"""Series made of phantoms.

prepared(patient, seed) -> PreparedSeries with real unit noise      ct_series(...) -> CtSeries
series_file(series) -> for another process
on_jax -> the environment of a process whose Keras runs on JAX
tiny_encoder -> the file of a feature network with seeded weights
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from imaging.phantom import trunk
from imaging.series import CtSeries
from training.data.pairs import PreparedSeries, prepare_series

SIDE = 96
SPACING = (3.0, 3.0)
"""mm: a trunk but for its flanks in 96 pixels; organs are wide enough to have a noise level."""


def make_series(
    name: str = "phantom", *, patient: str = "p", seed: int = 0, slices: int = 2, noise: float = 3.0, **changes
) -> CtSeries:
    """A series of phantom slices 5 mm apart with white noise of its own."""
    rng = np.random.default_rng(seed)
    volume = np.stack([trunk((SIDE, SIDE), SPACING, rng) for _ in range(slices)])
    volume += rng.normal(0, noise, volume.shape).astype(np.float32)
    values = {
        "name": name,
        "patient": patient,
        "series_uid": f"1.2.{seed}",
        "volume": volume,
        "padding": None,
        "spacing": SPACING,
        "slice_thickness": 5.0,
        "positions": 5.0 * np.arange(slices, dtype=np.float64),
        "gaps": (),
        "tilt": 0.0,
        "kernel": "",
        "kvp": None,
        "manufacturer": "",
        "warnings": (),
    }
    return CtSeries(**{**values, **changes})


@pytest.fixture(scope="session")
def on_jax() -> dict[str, str]:
    """Environment variables; the least optimisation, because compiling is all that these short runs would wait for."""
    return {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_backend_optimization_level=0",
    }


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stages for CT, untrained, in the format of `training.networks.encoder`."""
    rng = np.random.default_rng(0)
    file = tmp_path_factory.mktemp("features") / "encoder.npz"
    arrays = {"views": np.array([(-1.024, 3.071), (-0.16, 0.24)])}
    for stage, (channels, width) in enumerate(((2, 4), (4, 6))):
        arrays[f"stage{stage}/kernel"] = rng.normal(0, 0.3, (3, 3, channels, width)).astype(np.float32)
        arrays[f"stage{stage}/bias"] = rng.uniform(0, 0.1, width).astype(np.float32)
    np.savez(file, allow_pickle=False, **arrays)
    return file


@pytest.fixture(scope="session")
def series_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[PreparedSeries], str]:
    """series_file(series) -> an expression by which another process gets the same PreparedSeries."""

    def save(series: PreparedSeries) -> str:
        path = tmp_path_factory.mktemp("series") / "series.npz"
        names = ("quantum", "electronic", "quantum_sd", "electronic_sd")
        np.savez(path, images=series.images, **{name: getattr(series.unit_noise, name) for name in names})
        identity = (series.name, series.patient, series.spacing, series.unit, series.noise_level)
        saved = f"np.load({str(path)!r})"
        noise = f"UnitNoise(*({saved}[name] for name in {names!r}))"
        return f"PreparedSeries(*{identity!r}, {saved}['images'], {noise})"

    return save


@pytest.fixture(scope="session")
def ct_series() -> Callable[..., CtSeries]:
    """`make_series`, for tests in other modules."""
    return make_series


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., PreparedSeries]:
    """prepared(patient, seed) -> two slices with their unit noise, made once."""
    cache = tmp_path_factory.mktemp("cache")
    made: dict[tuple[str, int], PreparedSeries] = {}

    def get(patient: str = "p", seed: int = 0) -> PreparedSeries:
        if (patient, seed) not in made:
            series = make_series(f"{patient}{seed}", patient=patient, seed=seed)
            made[patient, seed] = prepare_series(series, cache, average=False, processes=1)
        return made[patient, seed]

    return get

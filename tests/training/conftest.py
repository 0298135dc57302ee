"""Series made of phantoms.

prepared(patient, seed) -> PreparedSeries with real unit noise      ct_series(...) -> CtSeries
write_dicom(folder, patient, seed) -> a folder of DICOM files       series_file(series) -> for another process
on_jax -> the environment of a process whose Keras runs on JAX
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from imaging.phantom import trunk
from imaging.series import CtSeries
from training.pairs import PreparedSeries, prepare

SIDE = 96
SPACING = (4.0, 4.0)
"""mm: a whole trunk in 96 pixels."""


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


def write_series(folder: Path, *, patient: str, seed: int, slices: int = 2) -> None:
    """A folder of DICOM files, phantom slices 5 mm apart, whole HU."""
    folder.mkdir(parents=True)
    volume = np.rint(make_series(seed=seed, slices=slices).volume).astype("<i2")
    for number, pixels in enumerate(volume):
        ds = pydicom.Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, f"1.2.{seed}.{number + 1}"
        ds.Modality, ds.PatientID, ds.ImageType = "CT", patient, ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.StudyInstanceUID, ds.SeriesInstanceUID = f"1.3.{seed}", f"1.4.{seed}"
        ds.ImagePositionPatient, ds.ImageOrientationPatient = [0, 0, 5 * number], [1, 0, 0, 0, 1, 0]
        ds.PixelSpacing, ds.SliceThickness = list(SPACING), 5
        ds.Rows = ds.Columns = SIDE
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
        ds.RescaleSlope, ds.RescaleIntercept = 1, 0
        ds.PixelData = pixels.tobytes()
        ds.save_as(folder / f"{number}.dcm", enforce_file_format=True)


@pytest.fixture(scope="session")
def write_dicom() -> Callable[..., None]:
    """`write_series`, for tests in other modules."""
    return write_series


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
def series_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[PreparedSeries], str]:
    """series_file(series) -> an expression by which another process gets the same PreparedSeries."""

    def save(series: PreparedSeries) -> str:
        path = tmp_path_factory.mktemp("series") / "series.npz"
        names = ("hu", "quantum", "electronic", "quantum_sd", "electronic_sd")
        np.savez(path, **{name: getattr(series, name) for name in names})
        identity = (series.name, series.patient, series.spacing, series.noise_hu)
        return f"PreparedSeries(*{identity!r}, **np.load({str(path)!r}))"

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
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("training.pairs.read_series", lambda _: [series])
                made[patient, seed] = prepare([cache / "none.zip"], cache, average=False, processes=1)[0]
        return made[patient, seed]

    return get

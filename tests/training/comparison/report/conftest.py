"""Studies with made-up scores: made_up_study(folder, gains, ...) writes the files that `clearslice compare` would."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from imaging.metrics import SOFT_TISSUE
from training.comparison.cells import TRAINED
from training.comparison.compare import BASELINE, DEGRADED, method_folder
from training.comparison.folds import DATA
from training.comparison.scoring import VERSION, keep_scores
from training.comparison.study import Cell, Choice, Study, keep_study
from training.run_files import write_json

MAIN = SOFT_TISSUE.name


def phantom(level: float) -> dict:
    """A `PhantomResult` in plain values, of a restorer that leaves noise of this level."""
    frequency = [0.05 * place for place in range(1, 12)]
    curve = {"frequency": frequency, "values": [level * f * np.exp(-8 * f * f) for f in frequency]}
    fall = {"frequency": frequency, "values": [float(np.exp(-(level + 1) * f)) for f in frequency]}
    return {
        "unit": "HU",
        "degradation": "made up",
        "repetitions": 2,
        "spectrum": {"curve": curve, "mean_frequency": 0.25, "peak_frequency": 0.2, "deviation": level},
        "shape_distance": 0.1,
        "transfer": {"high": {"curve": fall, "f50": 0.4, "f10": None}, "low": None},
        "noise": level,
        "bias": level / 2,
        "discs": [],
    }


def images(psnr: float, *, patients: int, slices: int, rng: np.random.Generator, spread: float) -> list[dict]:
    """Scores of slices whose patients differ by decibels, and methods by what `psnr` says plus a little chance."""
    found = []
    for patient in range(patients):
        own = spread * rng.normal()
        for number in range(slices):
            value = 30 + patient + 0.3 * number + psnr + own + 0.2 * spread * rng.normal()
            values = [
                ["psnr", MAIN, value],
                ["ssim", MAIN, 0.9 + 0.01 * (value - 35)],
                ["rmse", MAIN, 10.0],
                ["bias", "soft tissue", 0.5],
                ["kurtosis", MAIN, 1.0 + psnr],
                ["structure", MAIN, None],
            ]
            found.append({"series": f"s{patient}", "patient": f"p{patient}", "slice": number, "values": values})
    return found


def write_made_up_study(
    folder: Path,
    gains: Mapping[str, Mapping[str, float]],
    *,
    patients: int = 11,
    slices: int = 2,
    seeds: tuple[int, ...] = (0, 1),
    spread: float = 0.05,
) -> Study:
    """`gains`: degradation -> recipe -> PSNR above 30 dB; all recipes that are named anywhere belong to the study."""
    recipes = dict.fromkeys(recipe for each in gains.values() for recipe in each)
    study = keep_study(
        Study(
            "ct",
            tuple(Choice.parse(each) for each in recipes),
            tuple(Choice.parse(each) for each in gains),
            seeds=seeds,
            slices=slices,
        ),
        folder,
    )
    terms = {"version": VERSION, "slices": slices, "restorer": "made up"}
    rng = np.random.default_rng(0)

    def keep(place: Path, psnr: float, **more: str) -> None:
        scored = images(psnr, patients=patients, slices=slices, rng=rng, spread=spread)
        found = {"images": scored, "slice_milliseconds": 40.0, "phantom": phantom(3.0 - psnr), **more}
        crop = np.asarray(rng.normal(40, 10 * (3 - psnr), (96, 96)), np.float32)
        keep_scores(place, terms, found, crop)

    for degradation, by_recipe in gains.items():
        for recipe, psnr in by_recipe.items():
            for seed in seeds:
                place = folder / Cell(Choice.parse(degradation), Choice.parse(recipe), None, seed).folder
                keep(place, psnr)
                cost = {"step_seconds": 0.1, "train_seconds": 100.0, "parameters": 1000, "loss": 0.1}
                write_json(place / TRAINED, cost)
        keep(folder / method_folder(Choice.parse(degradation), DEGRADED, None), -6.0)
        keep(folder / method_folder(Choice.parse(degradation), BASELINE + "median", None), -2.0, tuned="median (3 px)")
    roles = {
        "fit": [{"series": f"f{each}", "patient": f"f{each}", "slices": 20} for each in range(6)],
        "tune": [],
        "report": [{"series": f"s{each}", "patient": f"p{each}", "slices": slices} for each in range(patients)],
    }
    write_json(folder / DATA, [{"fold": None, **roles}])
    return study


@pytest.fixture
def made_up_study() -> Callable[..., Study]:
    """`write_made_up_study`."""
    return write_made_up_study

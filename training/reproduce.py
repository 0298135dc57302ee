"""Reproduce: trains a run again from what it recorded, and compares.

    RUN/settings.json, series --fit, elsewhere--> history, weights --compare--> bit-equal | close | different
    RUN/provenance.json ------------------------> what differs: data, code, versions, machine

On one machine with the same code a run is bit-equal: its ops are deterministic and every epoch draws from a generator
of its own. Elsewhere other kernels round differently, and 20 epochs of rounding are no longer small in the weights;
there scores of the tune patients within 0.02 dB count as the same.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from training.data.pairs import PreparedSeries
from training.errors import IncompatibleRun
from training.fit import Progress, fit, load_run
from training.progress import Advance, silent
from training.provenance import differences, read
from training.start import START, START_DATA

TOLERANCE_DB = 0.02
"""In PSNR of the tune slices after the last epoch that was trained again."""

Verdict = Literal["bit-equal", "close", "different"]


@dataclass(frozen=True)
class Reproduction:
    """What came of it.

    Attributes:
        verdict: bit-equal: every recorded digit of the compared epochs and, where all were trained again, every
            weight; close: within `TOLERANCE_DB`; different: neither.
        epochs, of: compared, and of the run.
        psnr: (then, now) after the last compared epoch; None without tune series.
        weights_differ: the largest difference of a weight; None where not all epochs were trained again.
        differences: of data, code, versions and machine, one line each.
    """

    verdict: Verdict
    epochs: int
    of: int
    psnr: tuple[float, float] | None
    weights_differ: float | None
    differences: tuple[str, ...]

    @property
    def reproduced(self) -> bool:
        """Whether it is the same run, as far as can be asked for."""
        return self.verdict != "different"


def reproduce(
    run: Path,
    fit_series: Sequence[PreparedSeries],
    tune_series: Sequence[PreparedSeries],
    folder: Path,
    *,
    epochs: int | None = None,
    cache: Path | None = None,
    advance: Advance = silent,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Reproduction:
    """Trains the run again in `folder`, or resumes that, and compares.

    Args:
        run: with at least one finished epoch; it is only read.
        fit_series, tune_series: the series it was trained and scored on.
        folder: of the second run.
        epochs: only so many of the first; the schedule stays that of all. By default all that the run has finished.
        cache, advance, progress: as for `training.fit.fit`.

    Raises:
        IncompatibleRun: `run` holds no run, or `folder` one with other settings.
        NoTrainingData: as `fit`.
    """
    model, settings = load_run(run)
    then = _history(run)
    compared = min(epochs or len(then), len(then))
    folder.mkdir(parents=True, exist_ok=True)
    for name in (START_DATA, START):
        if (run / name).exists() and not (folder / name).exists():  # what it started from may be gone
            shutil.copyfile(run / name, folder / name)
    again = fit(
        settings,
        fit_series,
        tune_series,
        folder,
        cache=cache,
        until=compared,
        advance=advance,
        progress=progress,
    )
    now = _history(folder)[:compared]
    weights = None
    if compared == len(then) and len(_history(folder)) == compared:
        pairs = zip(model.get_weights(), again.get_weights(), strict=True)
        weights = max(float(np.abs(one - two).max()) for one, two in pairs)
    psnr = _last_psnr(then[:compared], now)
    return Reproduction(
        _verdict(then[:compared], now, weights, psnr),
        compared,
        settings.epochs,
        psnr,
        weights,
        tuple(_what_differs(run, folder)),
    )


def source_of(run: Path) -> Path | None:
    """Where the series of a run were read from, if it says so."""
    recorded = read(run)
    return Path(recorded["source"]) if recorded and recorded["source"] else None


def _verdict(
    then: list[dict[str, float]], now: list[dict[str, float]], weights: float | None, psnr: tuple[float, float] | None
) -> Verdict:
    if then == now and not weights:
        return "bit-equal"
    if psnr is not None and abs(psnr[0] - psnr[1]) <= TOLERANCE_DB:
        return "close"
    return "different"


def _last_psnr(then: list[dict[str, float]], now: list[dict[str, float]]) -> tuple[float, float] | None:
    if "psnr" in then[-1] and "psnr" in now[-1]:
        return then[-1]["psnr"], now[-1]["psnr"]
    return None


def _what_differs(run: Path, folder: Path) -> list[str]:
    then, now = read(run), read(folder)
    if now is None:
        raise IncompatibleRun(f"{folder} lost its provenance.json; delete the folder and run this again")
    if then is None:
        return ["the run is older than provenance.json: its data, code, versions and machine are not known"]
    return differences(then, now)


def _history(run: Path) -> list[dict[str, float]]:
    history: list[dict[str, Any]] = json.loads((run / "history.json").read_text())
    return history

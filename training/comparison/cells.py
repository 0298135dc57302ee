"""Cells: one model of a study, a run folder of `training.fit`.

    Cell --fit--> cells/<degradation>/<recipe>/seed0/ --> trained.json, last: it is finished, and what it cost

A killed cell goes on at its last epoch; a finished one is not touched again.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.comparison.folds import Fold
from training.comparison.study import Cell, Study
from training.fit import Progress, fit
from training.memory import forget_models
from training.progress import Advance, silent
from training.run_files import write_json

TRAINED = "trained.json"


def is_trained(cell: Cell, folder: Path) -> bool:
    """Whether the cell is finished in this study's folder."""
    return (folder / cell.folder / TRAINED).is_file()


def missing(study: Study, folder: Path) -> list[Cell]:
    """The cells that are not trained yet, in the order of work."""
    return [cell for cell in study.cells() if not is_trained(cell, folder)]


def cost_of(cell: Cell, folder: Path) -> dict[str, Any]:
    """What `train_cell` wrote of a finished cell."""
    cost: dict[str, Any] = json.loads((folder / cell.folder / TRAINED).read_text())
    return cost


@dataclass
class _Watch:
    """Seconds between steps, as seen by a function that is told after every step."""

    seconds: list[float] = field(default_factory=list)
    last: float | None = None

    def __call__(self, state: Progress) -> None:
        now = time.perf_counter()
        if state.scores is None:
            if self.last is not None:
                self.seconds.append(now - self.last)
            self.last = now
        else:  # told once more at the end of an epoch, after scores and files
            self.last = None


def train_cell(
    study: Study,
    cell: Cell,
    fold: Fold,
    folder: Path,
    *,
    cache: Path,
    advance: Advance = silent,
    progress: Callable[[Progress], None] = silent,
) -> dict[str, Any]:
    """Trains or resumes one cell and returns what it cost, as written to `trained.json`.

    `step_seconds` is the median over the steps of this process, without compilation (None if all steps had been done
    before), `train_seconds` that times all steps, `parameters` those of the network, and `loss` the last epoch's mean,
    None if that is no number: the training diverged.

    Args:
        study, cell, fold: what to train on whom.
        folder: of the study.
        cache: as for `training.fit.fit`.
        advance, progress: as there.

    Raises:
        As `training.fit.fit`.
    """
    place = folder / cell.folder
    watch = _Watch()

    def told(state: Progress) -> None:
        watch(state)
        progress(state)

    model = fit(study.fit_settings(cell), fold.fit, [], place, cache=cache, advance=advance, progress=told)
    history: list[dict[str, float]] = json.loads((place / "history.json").read_text())
    loss = history[-1]["loss"]
    step = statistics.median(watch.seconds) if watch.seconds else None
    cost = {
        "step_seconds": step,
        "train_seconds": None if step is None else step * study.budget.epochs * study.budget.steps,
        "parameters": int(model.count_params()),
        "loss": loss if math.isfinite(loss) else None,
    }
    write_json(place / TRAINED, cost)
    forget_models()  # graphs of hundreds of cells would otherwise fill the memory
    return cost

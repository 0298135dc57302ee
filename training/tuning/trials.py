"""Tune: which settings of a recipe, and which learning rate, restore the tune patients best under a short budget.

    starting points, then TPE --trial--> fit, scored on tune slices after each epoch --PSNR--> study.db
                                          |  worse than the median of the others: pruned          |
                                          '-- NaN: pruned                                        best
                                                                                                  |
    best and every starting point, each with the same new seeds --> repeats/*.json --> training.tuning.report

A search is a folder, and the same command on the same folder is another worker or a resumption:

    tune.json          what was asked, and of which series; a search goes on only under the same
    study.db           trials (SQLite, as Optuna's own tools read it)
    claims/            who works on which trial (training.claims): what a killed worker had is done again
    repeats/           scores of every tune slice, one file per settings and seed
    work/              runs while they train; only their scores are kept

Why one objective: pruning needs one, and PSNR is what the search ranks by; SSIM of every trial is recorded beside it.
TPE: Bergstra et al., NeurIPS 2011. Median pruning: Golovin et al., KDD 2017.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from training.claims import Claim
from training.data.pairs import PreparedSeries
from training.errors import IncompatibleRun, NoTrainingData
from training.fit import Progress, describe, fit
from training.memory import forget_models
from training.progress import Advance, Notice, silent
from training.run_files import same_as_before
from training.tuning.search_space import TuneSettings

RANDOM_TRIALS = 8
"""Trials, starting points among them, before TPE takes over: it needs something to tell good from bad by."""

FIRST_PRUNING = 2
"""Epochs: after the first the learning rate has just risen, and says little about the last."""

PRUNING_TRIALS = 5
"""Finished trials before any other is pruned: a median of fewer is luck."""

OBJECTIVE = "psnr"
RECORDED = ("psnr", "ssim", "rmse", "bias")
"""Scores of the probes (`training.probes`) that a trial keeps, of its last epoch."""

POINT, AGAIN, DIVERGED, SECONDS = "starting point", "again after", "diverged", "seconds"
"""User attributes of trials: a starting point's name; the lost trial that it repeats; why it was pruned; its cost."""

COUNTED = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED)
"""States of trials that count towards the total; a lost trial does not, since it is done again."""


@dataclass(frozen=True, eq=False)
class Search:
    """What a worker needs: settings, data and the folder of the search.

    Attributes:
        settings: the same for every worker and resumption.
        fit_series, tune_series: as for `training.fit.fit`; the latter's scores are what is searched by.
        folder: of the search.
        cache: as for `training.fit.fit`.
    """

    settings: TuneSettings
    fit_series: Sequence[PreparedSeries]
    tune_series: Sequence[PreparedSeries]
    folder: Path
    cache: Path | None = None

    def __post_init__(self) -> None:
        if not self.tune_series:
            raise NoTrainingData("tuning needs patients of its own: the data has no folder tune/")

    def claim_file(self, work: str) -> Path:
        """What is locked while `work` is done."""
        return self.folder / "claims" / work

    def work_folder(self, work: str) -> Path:
        """Of the run that is trained for it."""
        return self.folder / "work" / work


def run_trials(search: Search, total: int, *, progress: Advance = silent, notice: Notice = silent) -> list[FrozenTrial]:
    """Runs trials until there are `total` in all, whoever ran them, and returns those.

    Args:
        search: see there; its folder is made when missing.
        total: starting points and pruned trials included.
        progress: told (what, steps done, steps in all) of the trial that runs here.
        notice: told a line per trial that ran here.

    Raises:
        IncompatibleRun: the folder holds a search of something else.
        NoTrainingData: nothing to fit.
    """
    with _open(search) as study:
        while True:
            taken = _take(study, search, total)
            if taken is None:
                if _wait_for_another(study, search):
                    continue
                return study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
            trial, claim = taken
            with claim:
                _run(trial, study, search, partial(progress, f"trial {trial.number + 1}"))
            notice(describe_trial(study.trials[trial.number]))


def best_trial(trials: Sequence[FrozenTrial]) -> FrozenTrial:
    """The highest PSNR of those trained to the end; the earlier of equals.

    Raises:
        IncompatibleRun: none was.
    """
    finished = [each for each in trials if each.state == TrialState.COMPLETE]
    if not finished:
        raise IncompatibleRun("no trial of the search has been trained to the end; give it more --trials")
    return max(finished, key=lambda each: (each.value or -math.inf, -each.number))


def describe_trial(trial: FrozenTrial) -> str:
    """One line: number, score, numbers, and what became of it."""
    numbers = "  ".join(f"{name} {value:.3g}" for name, value in trial.params.items())
    score = trial.user_attrs.get(OBJECTIVE, math.nan)
    marks = [trial.user_attrs[POINT]] if POINT in trial.user_attrs else []
    if trial.state == TrialState.PRUNED:
        marks.append("diverged" if DIVERGED in trial.user_attrs else f"stopped after epoch {trial.last_step}")
    return f"trial {trial.number + 1}  {score:.2f} dB  {numbers}" + (f"  ({'; '.join(marks)})" if marks else "")


@contextmanager
def _open(search: Search) -> Iterator[optuna.Study]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    settings = search.settings
    data = [*describe(search.fit_series), *describe(search.tune_series)]
    with Claim.wait(search.claim_file("study")):
        same_as_before(search.folder / "tune.json", {**settings.to_json(), "data": data}, "settings or data")
        # several workers write at times; a minute is far more than any of them needs
        storage = optuna.storages.RDBStorage(
            f"sqlite:///{search.folder / 'study.db'}", engine_kwargs={"connect_args": {"timeout": 60}}
        )
        study = optuna.create_study(
            storage=storage,
            study_name=settings.fit.model,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=PRUNING_TRIALS, n_warmup_steps=FIRST_PRUNING),
        )
        if not study.get_trials(deepcopy=False):
            for point in settings.starting_points:
                study.enqueue_trial(settings.numbers_of(point), user_attrs={POINT: point.name})
    try:
        yield study
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _take(study: optuna.Study, search: Search, total: int) -> tuple[optuna.Trial, Claim] | None:
    """The next trial and the claim on it; None when as many as asked for are finished or at work."""
    with Claim.wait(search.claim_file("study")):
        _return_lost(study, search)
        known = study.get_trials(deepcopy=False)
        if sum(each.state in COUNTED for each in known) >= total:
            return None
        # a generator of its own for every trial: two workers draw different numbers, a resumed search the same
        seed = search.settings.fit.seed + len(known)
        study.sampler = optuna.samplers.TPESampler(n_startup_trials=RANDOM_TRIALS, seed=seed)
        trial = study.ask()
        # waits for a moment at most: only a worker that waits for others may hold it
        return trial, Claim.wait(search.claim_file(f"trial{trial.number}"))


def _return_lost(study: optuna.Study, search: Search) -> None:
    """Trials that are marked as running, yet nobody has a claim on, are failed and queued again."""
    for each in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        claim = Claim.take(search.claim_file(f"trial{each.number}"))
        if claim is None:
            continue
        with claim:
            study.tell(each.number, state=TrialState.FAIL)
            shutil.rmtree(search.work_folder(f"trial{each.number}"), ignore_errors=True)
            numbers = {**each.system_attrs.get("fixed_params", {}), **each.params}
            marks = {name: value for name, value in each.user_attrs.items() if name == POINT}
            study.enqueue_trial(numbers, user_attrs={**marks, AGAIN: each.number})


def _wait_for_another(study: optuna.Study, search: Search) -> bool:
    """Whether a trial was running elsewhere; returns when one of these has ended, in whatever way."""
    for each in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        with Claim.wait(search.claim_file(f"trial{each.number}")):
            return True
    return False


def _run(trial: optuna.Trial, study: optuna.Study, search: Search, advance: Callable[[int, int], None]) -> None:
    """One trial from its numbers to its score. An error or an interrupt leaves it as a killed worker would."""
    ranges = search.settings.ranges
    numbers = {name: trial.suggest_float(name, each.low, each.high, log=each.log) for name, each in ranges.items()}
    begin = time.monotonic()
    last: dict[str, float] = {}

    def tell(state: Progress) -> None:
        advance((state.epoch - 1) * state.steps + state.step, state.epochs * state.steps)
        if state.scores is None:
            return
        if not math.isfinite(state.scores[OBJECTIVE]):
            trial.set_user_attr(DIVERGED, True)
            raise optuna.TrialPruned
        last.update({name: state.scores[name] for name in RECORDED})
        trial.report(last[OBJECTIVE], state.epoch)
        # constants that others are compared with are trained to the end
        if state.epoch < state.epochs and POINT not in trial.user_attrs and trial.should_prune():
            raise optuna.TrialPruned

    with forgotten(search.work_folder(f"trial{trial.number}")) as work:
        try:
            settings = search.settings.with_numbers(numbers)
            fit(settings, search.fit_series, search.tune_series, work, cache=search.cache, progress=tell)
            outcome: dict[str, Any] = {"values": last[OBJECTIVE]}
        except optuna.TrialPruned:
            outcome = {"state": TrialState.PRUNED}
    for name, value in {**last, SECONDS: round(time.monotonic() - begin, 1)}.items():
        trial.set_user_attr(name, value)
    study.tell(trial, **outcome)


@contextmanager
def forgotten(work: Path) -> Iterator[Path]:
    """The folder of a run of which neither files nor memory stay; its model must not be used afterwards."""
    shutil.rmtree(work, ignore_errors=True)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
        forget_models()

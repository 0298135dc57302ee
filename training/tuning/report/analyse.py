"""Analyse: trials and repeats of a search -> report.json, from which Markdown and HTML are made.

trials --best, Pareto front, importance--+
repeats --gain over every other arm------+--> plain values --words--> report.json
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from training.domains import DOMAINS
from training.evaluation.image_scores import CONTRACTS
from training.recipes import parse_model_name
from training.tuning.repeats import INTERVAL_METHOD, METRICS, Arm, SliceScores, gain, patient_mean
from training.tuning.report.words import AT_BEST_RATE, words
from training.tuning.search_space import LEARNING_RATE, TuneSettings
from training.tuning.train_command import train_command
from training.tuning.trials import AGAIN, DIVERGED, POINT, RECORDED, SECONDS, Search, best_trial

IMPORTANCE_TRIALS = 10
"""Trials trained to the end, below which nothing is said about importance."""

_TOP_SHARE = 0.3  # of the trials count as good for the importance: PED-ANOVA's usual tenth would be one or two

Report = dict[str, Any]


def arms_of(search: Search, trials: Sequence[FrozenTrial]) -> list[Arm]:
    """What is repeated: the best first, every other starting point, and the last of these at the best's learning rate.

    The last is what tells a gain of the recipe's settings from one of the learning rate.
    """
    settings = search.settings
    best = best_trial(trials)
    arms = [Arm("best", settings.with_numbers(best.params))]
    points = settings.starting_points
    arms += [Arm(point.name, settings.with_numbers(settings.numbers_of(point))) for point in points]
    if LEARNING_RATE in best.params and len(best.params) > 1:
        numbers = {**settings.numbers_of(points[-1]), LEARNING_RATE: best.params[LEARNING_RATE]}
        arms.append(Arm(points[-1].name + AT_BEST_RATE, settings.with_numbers(numbers)))
    different: dict[str, Arm] = {}
    for arm in arms:
        different.setdefault(arm.digest, arm)
    return list(different.values())


def analyse(
    search: Search,
    trials: Sequence[FrozenTrial],
    arms: Sequence[Arm],
    seeds: Sequence[int],
    scores: Sequence[Sequence[SliceScores]],
) -> Report:
    """Everything that the reports say, as plain values.

    Args:
        search: see there.
        trials: finished ones, as `training.tuning.trials.run_trials` returns them.
        arms: of `arms_of`; the first is the best.
        seeds: of the repeats.
        scores: of `training.tuning.repeats.repeat`, [arm][seed]; empty without repeats.
    """
    settings = search.settings
    domain, recipe = parse_model_name(settings.fit.model)
    unit = DOMAINS[domain]
    contract = CONTRACTS[unit][0]
    best = best_trial(trials)
    report: Report = {
        "model": settings.fit.model,
        "says": recipe.says,
        "noise": settings.fit.noise.label,
        "contract": {"name": contract.name, "low": contract.low, "high": contract.high, "unit": contract.unit},
        "fit": settings.fit.to_json(),
        "ranges": {name: asdict(each) for name, each in settings.ranges.items()},
        "held": {name: value for name, value in settings.fit.loss.items() if name not in settings.ranges},
        "patients": {
            "fit": len({each.patient for each in search.fit_series}),
            "tune": len({each.patient for each in search.tune_series}),
            "tune slices": sum(len(each.images) for each in search.tune_series),
        },
        "trials": [_trial(each) for each in trials],
        "best": best.number + 1,
        "pareto": [each.number + 1 for each in _pareto(trials)],
        "importance": _importance(trials),
        "repeats": _repeats(settings, arms, seeds, scores),
        "interval_method": INTERVAL_METHOD,
        "command": train_command(settings.with_numbers(best.params)),
    }
    report["words"] = words(report)
    return report


def _trial(trial: FrozenTrial) -> dict[str, Any]:
    recorded = {name: trial.user_attrs.get(name) for name in RECORDED}
    return {
        "number": trial.number + 1,
        "outcome": "finished" if trial.state == TrialState.COMPLETE else _pruned(trial),
        "starting_point": trial.user_attrs.get(POINT),
        "repeats_lost": None if AGAIN not in trial.user_attrs else trial.user_attrs[AGAIN] + 1,
        "numbers": dict(trial.params),
        **recorded,
        "psnr_by_epoch": list(trial.intermediate_values.values()),
        "seconds": trial.user_attrs.get(SECONDS),
    }


def _pruned(trial: FrozenTrial) -> str:
    return "diverged" if DIVERGED in trial.user_attrs else f"stopped after epoch {trial.last_step}"


def _pareto(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Those trained to the end that no other beats in PSNR and in SSIM."""
    scored = [(each, [each.user_attrs[m] for m in METRICS]) for each in trials if each.state == TrialState.COMPLETE]
    return [
        each
        for each, ours in scored
        if not any(theirs != ours and all(a >= b for a, b in zip(theirs, ours, strict=True)) for _, theirs in scored)
    ]


def _importance(trials: Sequence[FrozenTrial]) -> dict[str, float] | None:
    """Number -> how much of what tells good trials from others it is, summing to 1; None when too few are finished."""
    finished = [each for each in trials if each.state == TrialState.COMPLETE]
    names = list(finished[0].params) if finished else []
    if len(finished) < IMPORTANCE_TRIALS or len(names) < 2:  # noqa: PLR2004 - of one alone there is no share
        return None
    study = optuna.create_study(direction="maximize")
    study.add_trials(finished)
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=_TOP_SHARE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def _repeats(
    settings: TuneSettings, arms: Sequence[Arm], seeds: Sequence[int], scores: Sequence[Sequence[SliceScores]]
) -> dict[str, Any] | None:
    if not scores:
        return None
    rows = []
    for arm, by_seed in zip(arms, scores, strict=True):
        values = {**arm.settings.loss, LEARNING_RATE: arm.settings.learning_rate}
        row: dict[str, Any] = {"name": arm.name, "numbers": {name: values[name] for name in settings.ranges}}
        for metric in METRICS:
            row[metric] = [patient_mean(each, metric) for each in by_seed]
            if arm is not arms[0]:
                found = gain(scores[0], by_seed, metric)
                row[f"{metric}_gain"] = asdict(found) | {"clear": found.clear}
        rows.append(row)
    return {"seeds": list(seeds), "arms": rows}

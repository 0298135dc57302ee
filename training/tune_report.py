"""What a search found, as plain values, in words and as Markdown; `training.tune_page` makes the HTML.

trials, repeats --analyse--> report.json --render_markdown--> report.md
                                        '--render_page------> report.html
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from training.domains import DOMAINS
from training.evaluate import INTERVAL_METHOD
from training.image_scores import CONTRACTS
from training.recipes import parse_model_name
from training.repeats import METRICS, Arm, SliceScores, gain, patient_mean
from training.search_space import LEARNING_RATE, Range, TuneSettings
from training.tune import AGAIN, DIVERGED, POINT, RECORDED, SECONDS, Search, best_trial
from training.train_command import train_command

IMPORTANCE_TRIALS = 10
"""Trials trained to the end, below which nothing is said about importance."""

_TOP_SHARE = 0.3  # of the trials count as good for the importance: PED-ANOVA's usual tenth would be one or two
_EDGE = 0.05  # of a range: a best this close to an end may lie beyond it

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
        arms.append(Arm(f"{points[-1].name}, best learning rate", settings.with_numbers(numbers)))
    return list({arm.digest: arm for arm in reversed(arms)}.values())[::-1]


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
        trials: finished ones, as `training.tune.run_trials` returns them.
        arms: of `arms_of`; the first is the best.
        seeds: of the repeats.
        scores: of `training.repeats.repeat`, [arm][seed]; empty without repeats.
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
    report["words"] = _words(report, settings.ranges)
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


def _words(report: Report, ranges: Mapping[str, Range]) -> list[str]:
    trials = {each["number"]: each for each in report["trials"]}
    best = trials[report["best"]]
    lines = []
    if best["starting_point"]:
        lines.append(f"Nothing that was tried beats {best['starting_point']}, {best['psnr']:.2f} dB.")
    else:
        lines.append(
            f"The best of {len(trials)} trials is number {best['number']}: {best['psnr']:.2f} dB,"
            f" SSIM {best['ssim']:.4f}, with {numbers_text(best['numbers'])}."
        )
    lines += _gains(report)
    if report["importance"]:
        first, share = next(iter(report["importance"].items()))
        lines.append(
            f"What tells good trials from others most is {first} ({share:.0%}); with few trials that is a hint."
        )
    for name, each in ranges.items():
        place = _place(best["numbers"][name], each)
        if not _EDGE <= place <= 1 - _EDGE:
            end = each.low if place < _EDGE else each.high
            lines.append(f"The best {name} lies at the end of its range, {end:g}: the optimum may be beyond it.")
    others = [number for number in report["pareto"] if number != report["best"]]
    if others:
        named = ", ".join(f"{number} ({trials[number]['ssim']:.4f})" for number in others)
        lines.append(f"A higher SSIM for a lower PSNR than the best's {best['ssim']:.4f} have trials {named}.")
    if LEARNING_RATE in ranges:
        fit = report["fit"]
        lines.append(
            f"The learning rate suits {fit['epochs']} x {fit['steps']} steps: a longer schedule may want a lower one."
        )
    lines.append(
        f"All scores are of the {report['patients']['tune']} tune patients, by which the settings were chosen:"
        " `clearslice evaluate` on report patients has the last word."
    )
    return lines


def _gains(report: Report) -> list[str]:
    if report["repeats"] is None:
        return ["Without repeats under other seeds a gain cannot be told from luck."]
    lines = []
    for arm in report["repeats"]["arms"][1:]:
        psnr, ssim = arm["psnr_gain"], arm["ssim_gain"]
        verdict = "may be chance" if not psnr["clear"] else "a clear gain" if psnr["mean"] > 0 else "a clear loss"
        lines.append(
            f"Over {arm['name']} ({numbers_text(arm['numbers'])}) the best gains {gain_text(psnr, '{:+.2f}')} dB and"
            f" {gain_text(ssim, '{:+.4f}')} SSIM; by seed {', '.join(f'{each:+.2f}' for each in psnr['by_seed'])} dB:"
            f" {verdict}."
        )
    return lines


def _place(value: float, within: Range) -> float:
    """0 at the low end, 1 at the high end, on the range's scale."""
    low, high, here = (math.log(each) if within.log else each for each in (within.low, within.high, value))
    return (here - low) / (high - low)


def numbers_text(numbers: Mapping[str, float]) -> str:
    """`ssim_weight 0.012, learning_rate 0.002`."""
    return ", ".join(f"{name} {value:.3g}" for name, value in numbers.items())


def gain_text(found: Mapping[str, Any], style: str) -> str:
    """`+0.12 [+0.05, +0.20]`."""
    ends = ", ".join(style.format(end) for end in found["interval"]) if found["interval"] else ""
    return style.format(found["mean"]) + (f" [{ends}]" if ends else "")


def budget_text(report: Report) -> str:
    """One sentence on what every trial is given, and what it is judged by."""
    fit, contract = report["fit"], report["contract"]
    return (
        f"Every trial: {fit['epochs']} epochs of {fit['steps']} steps of {fit['batch']} patches of"
        f" {fit['patch']} x {fit['patch']}, degradation: {report['noise']}. Objective: mean PSNR of some tune slices after"
        f" the last epoch, in {contract['low']:g} to {contract['high']:g} {contract['unit']} ({contract['name']})."
    )


def repeats_text(report: Report) -> str:
    """How the repeats were made."""
    return (
        f"Each trained again under the seeds {', '.join(map(str, report['repeats']['seeds']))}, scored on all"
        f" {report['patients']['tune slices']} slices of {report['patients']['tune']} tune patients, and paired by slice."
        f" Brackets: {report['interval_method']}, of the seeds' mean. Clear: no seed and no end of the interval has the"
        " other sign."
    )


def render_markdown(report: Report) -> str:
    """The same as tables."""
    names = list(report["ranges"])
    lines = [f"# Tuning {report['model']}", "", budget_text(report), ""]
    lines += [f"- {each}" for each in report["words"]]
    lines += [
        "",
        f"    {report['command']}",
        "",
        "## Searched",
        "",
        "| number | from | to | scale | means |",
        "|---|---|---|---|---|",
    ]
    for name, each in report["ranges"].items():
        scale = "logarithmic" if each["log"] else "linear"
        lines.append(f"| {name} | {each['low']:g} | {each['high']:g} | {scale} | {each['says']} |")
    if report["repeats"]:
        lines += ["", "## Against untuned constants", "", repeats_text(report), ""]
        lines += [
            f"| | {' | '.join(names)} | PSNR, dB | SSIM | best gains, dB | SSIM |",
            "|---" * (len(names) + 5) + "|",
        ]
        for arm in report["repeats"]["arms"]:
            gains = [
                gain_text(arm[f"{metric}_gain"], style) if f"{metric}_gain" in arm else ""
                for metric, style in (("psnr", "{:+.2f}"), ("ssim", "{:+.4f}"))
            ]
            means = [f"{sum(arm['psnr']) / len(arm['psnr']):.2f}", f"{sum(arm['ssim']) / len(arm['ssim']):.4f}"]
            lines.append("| " + " | ".join([arm["name"], *_cells(arm["numbers"], names), *means, *gains]) + " |")
    if report["importance"]:
        lines += ["", "## Importance (PED-ANOVA)", "", "| number | share |", "|---|---|"]
        lines += [f"| {name} | {share:.0%} |" for name, share in report["importance"].items()]
    lines += [
        "",
        "## Trials",
        "",
        f"| trial | {' | '.join(names)} | PSNR, dB | SSIM | outcome |",
        "|---" * (len(names) + 4) + "|",
    ]
    for each in report["trials"]:
        scores = [
            "" if each["psnr"] is None else f"{each['psnr']:.2f}",
            "" if each["ssim"] is None else f"{each['ssim']:.4f}",
        ]
        outcome = "; ".join(filter(None, [each["starting_point"], each["outcome"]]))
        lines.append("| " + " | ".join([str(each["number"]), *_cells(each["numbers"], names), *scores, outcome]) + " |")
    return "\n".join(lines) + "\n"


def _cells(numbers: Mapping[str, float], names: Sequence[str]) -> list[str]:
    return [f"{numbers[name]:.3g}" if name in numbers else "" for name in names]

"""What a search says, in sentences; and the texts that stand beside its tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from training.tuning.repeats import MINIMUM_SEEDS
from training.tuning.search_space import LEARNING_RATE

Report = Mapping[str, Any]
"""Of `training.tuning.report.analyse.analyse`."""

AT_BEST_RATE = ", best learning rate"
"""Ends the name of an arm that has untuned constants and the best trial's learning rate."""

MATTERS_DB = 0.02
"""Below it a difference is real at best, and nothing that anyone sees: as far as two machines may differ."""

CHANCE, NOTHING, GAIN = "it may be chance", "it does not matter", "a clear gain"

_EDGE = 0.05  # of a range: a best this close to an end may lie beyond it


def words(report: Report) -> list[str]:
    """Sentences, the most important first."""
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
    for name, each in report["ranges"].items():
        place = _place(best["numbers"][name], each)
        if not _EDGE <= place <= 1 - _EDGE:
            end = each["low"] if place < _EDGE else each["high"]
            lines.append(f"The best {name} lies at the end of its range, {end:g}: the optimum may be beyond it.")
    seen = f"{best['ssim']:.4f}"
    others = [number for number in report["pareto"] if f"{trials[number]['ssim']:.4f}" > seen]
    if others:
        named = ", ".join(f"{number} ({trials[number]['ssim']:.4f})" for number in others)
        lines.append(f"A higher SSIM for a lower PSNR than the best's {seen} have trials {named}.")
    if LEARNING_RATE in report["ranges"]:
        fit = report["fit"]
        lines.append(
            f"The learning rate suits {fit['epochs']} x {fit['steps']} steps: a longer schedule may want a lower one."
        )
    lines.append(
        f"All scores are of the {report['patients']['tune']} tune patients, by which the settings were chosen:"
        " clearslice evaluate, on report patients, has the last word."
    )
    return lines


def _gains(report: Report) -> list[str]:
    if report["repeats"] is None:
        return ["Without repeats under other seeds a gain cannot be told from luck."]
    lines = []
    for arm in report["repeats"]["arms"][1:]:
        psnr, ssim = arm["psnr_gain"], arm["ssim_gain"]
        lines.append(
            f"Over {arm['name']} ({numbers_text(arm['numbers'])}) the best gains {gain_text(psnr, '{:+.2f}')} dB and"
            f" {gain_text(ssim, '{:+.4f}')} SSIM; by seed {', '.join(f'{each:+.2f}' for each in psnr['by_seed'])} dB:"
            f" {_verdict(psnr)}."
        )
    return lines + _whose_gain(report["repeats"]["arms"])


def _whose_gain(arms: Sequence[Mapping[str, Any]]) -> list[str]:
    """Whether a gain over untuned constants is that of the learning rate alone."""
    verdicts = {arm["name"]: _verdict(arm["psnr_gain"]) for arm in arms[1:]}
    return [
        f"So the gain over {name.removesuffix(AT_BEST_RATE)} is the learning rate's: with the best one its constants do"
        " as well, as far as these seeds can tell."
        for name, verdict in verdicts.items()
        if name.endswith(AT_BEST_RATE)
        and verdict in {CHANCE, NOTHING}
        and verdicts.get(name.removesuffix(AT_BEST_RATE)) == GAIN
    ]


def _verdict(psnr: Mapping[str, Any]) -> str:
    if not psnr["clear"]:
        return CHANCE if len(psnr["by_seed"]) >= MINIMUM_SEEDS else "too few seeds to tell it from chance"
    if abs(psnr["mean"]) < MATTERS_DB:
        return NOTHING
    return GAIN if psnr["mean"] > 0 else "a clear loss"


def _place(value: float, within: Mapping[str, Any]) -> float:
    """0 at the low end, 1 at the high end, on the range's scale."""
    low, high, here = (math.log(each) if within["log"] else each for each in (within["low"], within["high"], value))
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
        f" {fit['patch']} x {fit['patch']}, degradation: {report['noise']}."
        " Objective: mean PSNR of some tune slices after the last epoch,"
        f" in {contract['low']:g} to {contract['high']:g} {contract['unit']} ({contract['name']})."
    )


def repeats_text(report: Report) -> str:
    """How the repeats were made."""
    return (
        f"Each trained again under the seeds {', '.join(map(str, report['repeats']['seeds']))}, scored on all"
        f" {report['patients']['tune slices']} slices of {report['patients']['tune']} tune patients,"
        f" paired by seed and slice. Brackets: {report['interval_method']}."
        f" Clear: with {MINIMUM_SEEDS} seeds or more, and 0 outside of them."
    )

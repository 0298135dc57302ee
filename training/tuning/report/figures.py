"""The figures of a search: history, Pareto front, importance, and the score over each searched number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from training.svg import svg
from training.tuning.report.words import Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Trial = Mapping[str, Any]
"""One of the report's trials."""

_TRIAL, _START, _BEST = "C0", "C1", "C2"
_PRUNED = "0.6"
_SHOWN_DB = 1.5  # below the best: a diverged trial must not flatten all others


def history(report: Report) -> str:
    """PSNR of the trials in their order, and the best so far."""

    def draw(figure: Figure) -> None:
        axis = figure.subplots()
        _scatter(axis, report, lambda each: each["number"])
        best, line = float("-inf"), []
        for each in report["trials"]:
            best = max(best, each["psnr"]) if each["outcome"] == "finished" else best
            line.append(best)
        axis.step([each["number"] for each in report["trials"]], line, where="post", color=_BEST, label="best so far")
        axis.set(xlabel="trial", ylabel="PSNR, dB", ylim=_limits(report))
        axis.locator_params(axis="x", integer=True)
        figure.legend(loc="outside lower center", ncols=5, frameon=False)

    return svg((11, 3.6), draw, salt="history")


def pareto(report: Report) -> str:
    """SSIM over PSNR of trials trained to the end and not far off, and the front that none of them beats in both."""

    def draw(figure: Figure) -> None:
        axis = figure.subplots()
        low, high = _limits(report)
        finished = [each for each in report["trials"] if each["outcome"] == "finished" and low <= each["psnr"] <= high]
        axis.scatter(*_xy(finished), color=_TRIAL, s=18, label="trial")
        starts = [each for each in finished if each["starting_point"]]
        axis.scatter(*_xy(starts), color=_START, marker="D", s=36, label="starting point")
        front = sorted((each for each in finished if each["number"] in report["pareto"]), key=lambda each: each["psnr"])
        axis.plot(*_xy(front), color=_BEST, drawstyle="steps-pre", label="Pareto front")
        for each in (*front, *starts):
            axis.annotate(str(each["number"]), (each["psnr"], each["ssim"]), xytext=(4, 4), textcoords="offset points")
        axis.set(xlabel="PSNR, dB", ylabel="SSIM")
        axis.ticklabel_format(axis="y", useOffset=False)
        figure.legend(loc="outside lower center", ncols=3, frameon=False)

    return svg((7, 4.2), draw, salt="pareto")


def slices(report: Report) -> str:
    """PSNR over each searched number."""
    ranges: Mapping[str, Mapping[str, Any]] = report["ranges"]

    def draw(figure: Figure) -> None:
        axes = figure.subplots(1, len(ranges), sharey=True, squeeze=False)[0]
        for axis, (name, each) in zip(axes, ranges.items(), strict=True):
            _scatter(axis, report, partial(_number, name))
            axis.set(xlabel=name, xscale="log" if each["log"] else "linear", ylim=_limits(report))
        axes[0].set(ylabel="PSNR, dB")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)

    return svg((11, 3.6), draw, salt="slices")


def importance(report: Report) -> str:
    """A bar for each searched number."""
    shares: Mapping[str, float] = report["importance"]

    def draw(figure: Figure) -> None:
        axis = figure.subplots()
        names = list(shares)[::-1]
        axis.barh(names, [shares[name] for name in names], color=_TRIAL)
        axis.set(xlabel="share of what tells good trials from others", xlim=(0, 1))

    return svg((7, 1.0 + 0.4 * len(shares)), draw, salt="importance")


def _scatter(axis: Any, report: Report, place: Callable[[Trial], Any]) -> None:
    """Trials by what became of them, at (place(trial), PSNR)."""
    kinds: dict[str, tuple[dict[str, Any], Callable[[Trial], bool]]] = {
        "trial": (
            {"color": _TRIAL, "s": 18},
            lambda each: bool(each["outcome"] == "finished" and not each["starting_point"]),
        ),
        "starting point": ({"color": _START, "marker": "D", "s": 36}, lambda each: bool(each["starting_point"])),
        "stopped early": ({"color": _PRUNED, "marker": "x", "s": 22}, lambda each: bool(each["outcome"] != "finished")),
        "best": (
            {"facecolors": "none", "edgecolors": _BEST, "s": 90, "linewidths": 1.6},
            lambda each: bool(each["number"] == report["best"]),
        ),
    }
    for label, (style, chosen) in kinds.items():
        shown = [each for each in report["trials"] if chosen(each) and each["psnr"] is not None]
        axis.scatter([place(each) for each in shown], [each["psnr"] for each in shown], label=label, **style)
    axis.grid(alpha=0.2)


def _number(name: str, trial: Trial) -> float:
    value: float = trial["numbers"][name]
    return value


def _xy(trials: Sequence[Trial]) -> tuple[list[float], list[float]]:
    return [each["psnr"] for each in trials], [each["ssim"] for each in trials]


def _limits(report: Report) -> tuple[float, float]:
    """From the lowest finished score that is not far off, to the best."""
    values = [each["psnr"] for each in report["trials"] if each["outcome"] == "finished"]
    best = max(values)
    low = min(value for value in values if value >= best - _SHOWN_DB)
    margin = 0.1 * (best - low) or 0.1
    return low - margin, best + margin

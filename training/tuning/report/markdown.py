"""report.json as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from training.tuning.report.words import Report, budget_text, gain_text, repeats_text


def render_markdown(report: Report) -> str:
    """The whole report: words, what was searched, repeats, importance, trials."""
    lines = [f"# Tuning {report['model']}", "", budget_text(report), ""]
    lines += [f"- {each}" for each in report["words"]]
    lines += ["", f"    {report['command']}", "", "## Searched", "", *_searched(report)]
    if report["repeats"]:
        lines += ["", "## Against untuned constants", "", repeats_text(report), "", *_repeats(report)]
    if report["importance"]:
        lines += ["", "## Importance (PED-ANOVA)", "", "| number | share |", "|---|---|"]
        lines += [f"| {name} | {share:.0%} |" for name, share in report["importance"].items()]
    lines += ["", "## Trials", "", *_trials(report)]
    return "\n".join(lines) + "\n"


def _searched(report: Report) -> list[str]:
    lines = ["| number | from | to | scale | the ends mean |", "|---|---|---|---|---|"]
    for name, each in report["ranges"].items():
        scale = "logarithmic" if each["log"] else "linear"
        lines.append(f"| {name} | {each['low']:g} | {each['high']:g} | {scale} | {each['says']} |")
    return lines


def _repeats(report: Report) -> list[str]:
    names = list(report["ranges"])
    heads = ["", *names, "PSNR, dB", "SSIM", "the best gains, dB", "SSIM"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for arm in report["repeats"]["arms"]:
        means = [f"{fmean(arm['psnr']):.2f}", f"{fmean(arm['ssim']):.4f}"]
        gains = [
            gain_text(arm[f"{metric}_gain"], style) if f"{metric}_gain" in arm else ""
            for metric, style in (("psnr", "{:+.2f}"), ("ssim", "{:+.4f}"))
        ]
        lines.append("| " + " | ".join([arm["name"], *_cells(arm["numbers"], names), *means, *gains]) + " |")
    return lines


def _trials(report: Report) -> list[str]:
    names = list(report["ranges"])
    heads = ["trial", *names, "PSNR, dB", "SSIM", "outcome"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for each in report["trials"]:
        scores = [
            "" if each[metric] is None else style.format(each[metric])
            for metric, style in (("psnr", "{:.2f}"), ("ssim", "{:.4f}"))
        ]
        outcome = "; ".join(filter(None, [each["starting_point"], each["outcome"]]))
        lines.append("| " + " | ".join([str(each["number"]), *_cells(each["numbers"], names), *scores, outcome]) + " |")
    return lines


def _cells(numbers: Mapping[str, float], names: Sequence[str]) -> list[str]:
    return [f"{numbers[name]:.3g}" if name in numbers else "" for name in names]

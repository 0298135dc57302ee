"""Evidence for `auto`: how published versions score on the tune patients, noise by noise.

    tune series --each degradation--> degraded --each version--> PSNR, mean over patients --.
                                               --read_noise----> level, texture, impulses ---+--> Row

    report series --read_noise, choose--> the version that `auto` takes --PSNR beside the default's--> Gain

The noise of a row is read from its degraded images as it will be read from others, so that readings compare.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from imaging.image import Unit
from imaging.low_dose import RAMP, VERY_SOFT
from imaging.metrics import psnr
from imaging.noise.reading import NoiseReading, read_noise
from model_store.evidence import Evidence, Row, choose
from training.comparison.standings import NEGLIGIBLE_DB
from training.data.datasets import evaluation_pairs
from training.data.pairs import PreparedSeries, StatedDegrade
from training.degradations import DoseProtocol, parse_degradation
from training.evaluation.evaluate import INTERVAL_METHOD, Interval, Restore, bootstrap
from training.evaluation.image_scores import CONTRACTS
from training.progress import Advance, silent

SLICES = 6
"""Of each series, spread evenly: rows are about noise, and a series has one."""


@dataclass(frozen=True)
class Gain:
    """What `auto` is worth under one degradation, on series that its evidence has not seen.

    Attributes:
        degradation: in words.
        chosen: version -> how many series it was chosen for.
        gain: PSNR of what `auto` takes minus that of the default, dB, mean over patients.
        interval: of it.
        patients: whose images they were.
    """

    degradation: str
    chosen: dict[str, int]
    gain: float
    interval: Interval | None
    patients: int


def evidence_degradations(unit: Unit) -> tuple[StatedDegrade, ...]:
    """From weak to strong noise, from sharp to soft, and impulses."""
    if unit == "HU":
        doses = [DoseProtocol(dose, kernel=kernel) for kernel in (None, RAMP, VERY_SOFT) for dose in (0.5, 0.25, 0.1)]
        others = [("low-dose-thin", {}), ("low-dose-thin", {"dose_fraction": 0.5}), ("impulse", {"share": 0.05})]
        return (*doses, *(parse_degradation(name, "ct", numbers) for name, numbers in others))
    relative = [("gaussian", {"sigma": sigma}) for sigma in (0.03, 0.1, 0.2)]
    relative += [("poisson", {}), ("laplace", {}), ("contaminated", {}), ("impulse", {}), ("impulse", {"share": 0.2})]
    return tuple(parse_degradation(name, "relative", numbers) for name, numbers in relative)


def gather_rows(
    versions: Mapping[str, Restore],
    series: Sequence[PreparedSeries],
    degradations: Sequence[StatedDegrade],
    *,
    progress: Advance = silent,
) -> list[Row]:
    """A row for each degradation under which a noise level can be read.

    Args:
        versions: `ct-l2@3` -> restorer, all of one unit.
        series: of the tune patients, in that unit.
        degradations: what they are degraded by.
        progress: told (what, done, total).
    """
    (contract, *_), unit = CONTRACTS[series[0].unit], series[0].unit
    rows = []
    for done, degrade in enumerate(degradations, start=1):
        scores: dict[str, dict[str, list[float]]] = {ref: defaultdict(list) for ref in versions}
        readings: list[NoiseReading] = []
        for each in series:
            pairs = list(evaluation_pairs(each, degrade))
            chosen = [pairs[round(place)] for place in np.linspace(0, len(pairs) - 1, min(SLICES, len(pairs)))]
            readings.append(read_noise([degraded for degraded, _ in chosen], unit))
            for ref, restore in versions.items():
                for degraded, reference in chosen:
                    scores[ref][each.patient].append(float(psnr(restore(degraded), reference, contract)))
        progress("evidence", done, len(degradations))
        known = [each for each in readings if math.isfinite(each.level)]
        if known:
            rows.append(
                Row(
                    unit=unit,
                    degradation=degrade.label,
                    level=float(np.mean([each.level for each in known])),
                    correlation=float(np.mean([each.correlation for each in known])),
                    impulses=float(np.mean([each.impulses for each in known])),
                    scores={
                        ref: float(np.mean([np.mean(values) for values in found.values()]))
                        for ref, found in scores.items()
                    },
                )
            )
    return rows


def as_evidence(
    rows: Sequence[Row], defaults: Mapping[Unit, str], series: Mapping[Unit, Sequence[PreparedSeries]]
) -> Evidence:
    """The file: rows of all units, under what they were scored, and from how many images and patients."""
    metric = "; ".join(
        f"PSNR {unit} in [{CONTRACTS[unit][0].low:g}, {CONTRACTS[unit][0].high:g}], clipped, mean over tune patients"
        for unit in defaults
    )
    every = [each for of_unit in series.values() for each in of_unit]
    return Evidence(
        metric=metric,
        negligible=NEGLIGIBLE_DB,
        defaults=dict(defaults),
        rows=tuple(rows),
        images=sum(min(SLICES, len(each.images)) for each in every),
        patients=len({each.patient for each in every}),
    )


def render_evidence(evidence: Evidence) -> str:
    """Markdown: a table for each unit, the best of each row in bold where it is ahead of the default."""
    lines = []
    for unit, default in evidence.defaults.items():
        rows = [row for row in evidence.rows if row.unit == unit]
        refs = sorted({ref for row in rows for ref in row.scores}, key=lambda ref: (ref != default, ref))
        lines += [
            f"| noise ({unit}) | level read | correlation | impulses, % | {' | '.join(refs)} |",
            "|---" * (4 + len(refs)) + "|",
        ]
        for row in rows:
            best = max(row.scores, key=lambda ref: row.scores[ref])
            ahead = row.scores[best] - row.scores[default] > evidence.negligible
            cells = [
                f"**{row.scores[ref]:.2f}**" if ahead and ref == best else f"{row.scores[ref]:.2f}" for ref in refs
            ]
            lines.append(
                f"| {row.degradation} | {row.level:.3g} | {row.correlation:.2f} | {100 * row.impulses:.1f} |"
                f" {' | '.join(cells)} |"
            )
        lines.append("")
    return "\n".join(lines) + f"{evidence.metric}. Default: {', '.join(evidence.defaults.values())}.\n"


def measure_gains(
    evidence: Evidence,
    versions: Mapping[str, Restore],
    series: Sequence[PreparedSeries],
    degradations: Sequence[StatedDegrade],
    *,
    progress: Advance = silent,
) -> list[Gain]:
    """Lets `auto` choose for every series, as a service would, and compares with the default.

    Args:
        evidence: what it chooses by; it has a default for the unit of the series.
        versions: as of `gather_rows`, the default among them.
        series: of patients that are neither fitted nor in the evidence, all in one unit.
        degradations: what they are degraded by.
        progress: told (what, done, total).
    """
    (contract, *_), unit = CONTRACTS[series[0].unit], series[0].unit
    default, gains = evidence.defaults[unit], []
    for done, degrade in enumerate(degradations, start=1):
        chosen: Counter[str] = Counter()
        paired: dict[str, list[float]] = defaultdict(list)
        for each in series:
            pairs = list(evaluation_pairs(each, degrade))
            noise = read_noise([degraded for degraded, _ in pairs], unit)
            choice = choose(evidence, unit, noise, usable=set(versions))
            assert choice is not None  # noqa: S101 - the default is among the versions
            chosen[choice.ref] += 1
            if choice.ref == default:
                paired[each.patient] += [0.0] * len(pairs)
                continue
            for degraded, reference in pairs:
                own, usual = (
                    float(psnr(versions[ref](degraded), reference, contract)) for ref in (choice.ref, default)
                )
                paired[each.patient].append(own - usual)
        mean, interval = bootstrap([np.asarray(values) for values in paired.values()], np.random.default_rng(0))
        gains.append(Gain(degrade.label, dict(chosen), mean, interval, len(paired)))
        progress("what auto gains", done, len(degradations))
    return gains


def render_gains(gains: Sequence[Gain]) -> str:
    """Markdown table."""
    lines = ["| noise | chosen, series | auto minus the default, dB |", "|---|---|---|"]
    for each in gains:
        interval = f" [{each.interval[0]:+.2f}, {each.interval[1]:+.2f}]" if each.interval else ""
        chosen = ", ".join(f"{ref}: {count}" for ref, count in sorted(each.chosen.items()))
        lines.append(f"| {each.degradation} | {chosen} | {each.gain:+.2f}{interval} |")
    patients = gains[0].patients if gains else 0
    return "\n".join(lines) + f"\n\n{patients} patients or pictures of validation. Brackets: {INTERVAL_METHOD}.\n"

"""An advice as rows of a table and as plain values.

NoiseProfile, Advice, Verification --> rows for people | JSON for programs
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from imaging.noise.profile import NoiseProfile
from training.advice.advise import Advice
from training.run_files import json_like

if TYPE_CHECKING:
    from training.advice.verdict import Verification  # which loads what evaluates


def noise_rows(profile: NoiseProfile) -> list[tuple[str, str]]:
    """(what, value) of the table that people read."""
    unit = " HU" if profile.unit == "HU" else ""
    tails, correlation, signal = profile.tails, profile.correlation, profile.signal
    rows = [
        ("images, pixels with known noise", f"{profile.images}, {profile.pixels}"),
        ("level", f"{profile.level:.4g} ± {profile.level_error:.1g}{unit} (bulk {profile.core:.4g}{unit})"),
    ]
    if profile.source == "pairs":
        rows.append(("mean", f"{profile.bias:+.3g} ± {profile.bias_error:.1g}{unit}"))
    rows += [
        ("impulses", f"{profile.impulse_share:.3%} of the pixels"),
        ("excess kurtosis", f"{tails.kurtosis:.2f} ± {tails.kurtosis_error:.2g} if Gaussian"),
    ]
    if tails.aic:
        rows.append(("AIC above the best", ", ".join(f"{name} {value:.0f}" for name, value in tails.aic.items())))
    neighbours = (
        f"{correlation.columns:+.2f} in a row, {correlation.rows:+.2f} in a column, {correlation.diagonal:+.2f}"
        " diagonally"
    )
    rows += [
        ("correlation of neighbours", neighbours),
        ("one independent value in", f"{correlation.length**2:.1f} pixels"),
        ("bright over dark deviation", f"{signal.ratio:.2f}" if signal.significant else "no dependence found"),
        ("level over the image", f"varies by {profile.variation:.0%}"),
    ]
    return rows


def to_json(profile: NoiseProfile, advice: Advice, verification: Verification | None) -> dict[str, Any]:
    """Plain values; what could not be measured is null."""
    plain = {
        "noise": asdict(profile) | {"best_fit": profile.tails.best},
        "advice": asdict(advice),
        "verification": None if verification is None else asdict(verification) | {"says": verification.sentence},
    }
    known: dict[str, Any] = json_like(plain)
    return known

"""Advised: what the noise alone says about the recipe, to be held against what training showed.

    pairs of tune slices --profile_from_pairs--> profile --advise--> advice.json --standing--> Agreement
                                                                                  best | tied | behind | not ranked

The advice is that of `clearslice advise`, by its rules: no score of the study goes into it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from imaging.noise.pairs import profile_from_pairs
from training.advice.advise import advise
from training.advice.report import to_json
from training.comparison.standings import Standings
from training.domains import DOMAINS, Domain
from training.evaluation.image_scores import Picture
from training.run_files import write_json

FILE = "advice.json"
VERSION = 2
"""Raise when the advice changes: it is then given anew."""

Outcome = Literal["best", "tied", "behind", "not ranked"]


@dataclass(frozen=True)
class Agreement:
    """An advice and what came of it.

    Attributes:
        family: of the noise, as recognised.
        recipe, settings: what was advised; the study ranks the recipe under its own settings.
        reason: in sentences.
        outcome: whether the recipe was the best, cannot be told from the best, is behind by more than chance, or is no
            row of the study.
        behind: what it lacks to the best, in the metric's unit; 0 for the best, None where it is not ranked.
    """

    family: str
    recipe: str
    settings: Mapping[str, float]
    reason: str
    outcome: Outcome
    behind: float | None


def is_advised(place: Path, terms: Mapping[str, Any]) -> bool:
    """Whether the advice is there, given under these terms."""
    file = place / FILE
    return file.is_file() and json.loads(file.read_text())["terms"] == {**terms, "version": VERSION}


def keep_advice(
    place: Path, pairs: Sequence[tuple[Picture, Picture]], domain: Domain, terms: Mapping[str, Any]
) -> None:
    """Measures the noise of (degraded, reference) pairs, (H, W) float32 each, and keeps what it advises."""
    profile = profile_from_pairs([noisy for noisy, _ in pairs], [clean for _, clean in pairs], DOMAINS[domain])
    write_json(
        place / FILE, {"terms": {**terms, "version": VERSION}, **to_json(profile, advise(profile, domain), None)}
    )


def agreement(place: Path, standings: Standings) -> Agreement | None:
    """What became of the advice in a folder; None where none was given."""
    file = place / FILE
    if not file.is_file():
        return None
    advice = json.loads(file.read_text())["advice"]
    recipe: str = advice["recipe"]
    outcome: Outcome = "not ranked"
    behind = None
    if any(each.method == recipe for each in standings.recipes):
        standing = standings[recipe]
        outcome = "best" if standing.to_best is None else "tied" if standing.tied else "behind"
        behind = 0.0 if standing.to_best is None else -standing.to_best.mean
    return Agreement(advice["family"], recipe, advice["settings"], advice["reason"], outcome, behind)

"""Evidence: the measured winners of a study, for advice.

report.json of `clearslice compare` --standings by PSNR--> degradation -> Winner
                                      UnusableEvidence
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from training.advice.advise import Winner
from training.comparison.standings import NEGLIGIBLE_DB
from training.comparison.study import Choice
from training.domains import Domain
from training.errors import UnusableEvidence

FORMAT = 1
"""Of the report that is understood (`training.comparison.report.analyse.FORMAT`)."""

METRIC = "psnr"
"""What decides, as in the study's own ranking."""


def read_evidence(file: Path, domain: Domain) -> dict[str, Winner]:
    """The best recipe under each degradation, by the degradation's name without its settings.

    Where a study has one degradation under several settings, the first counts.

    Raises:
        UnusableEvidence: no report, one of another format or domain, or without a ranked recipe.
        OSError: the file cannot be read.
    """
    try:
        plain = json.loads(file.read_text())
        if plain["format"] != FORMAT:
            raise UnusableEvidence(f"{file} has format {plain['format']}, and {FORMAT} is read; write the report again")
        if (of := plain["study"]["domain"]) != domain:
            raise UnusableEvidence(f"{file} is a study of {of} images, and these are {domain} images")
        winners = _winners(plain["degradations"], file)
    except (ValueError, KeyError, TypeError) as error:
        raise UnusableEvidence(f"{file} is no report.json of `clearslice compare`") from error
    if not winners:
        raise UnusableEvidence(f"{file} ranks no recipe yet; let `clearslice compare` finish a column")
    return winners


def _winners(degradations: list[dict[str, Any]], file: Path) -> dict[str, Winner]:
    winners: dict[str, Winner] = {}
    for each in degradations:
        ranked = [method for method in each["methods"] if _standing(method)["rank"] is not None]
        if ranked:
            winners.setdefault(Choice.parse(each["label"]).name, _winner(ranked, each["methods"], file))
    return winners


def _winner(ranked: list[dict[str, Any]], methods: list[dict[str, Any]], file: Path) -> Winner:
    best = min(ranked, key=lambda method: int(_standing(method)["rank"]))
    tied = [
        Choice.parse(each["name"]).label
        for each in ranked
        if each is not best and (_standing(each)["tied"] or _mean(best) - _mean(each) < NEGLIGIBLE_DB)
    ]
    choice = Choice.parse(best["name"])
    found = Winner(choice.name, dict(choice.settings), tuple(tied), file.name)
    filters = [each for each in methods if each["kind"] == "baseline" and each["tuned"]]
    strongest = max(filters, key=_mean, default=None)
    if strongest is None or _mean(strongest) <= _mean(best):
        return found
    return replace(found, filter=", ".join(strongest["tuned"]), ahead=_mean(strongest) - _mean(best))


def _mean(method: Mapping[str, Any]) -> float:
    return float(_standing(method)["mean"])


def _standing(method: Mapping[str, Any]) -> Mapping[str, Any]:
    standing: Mapping[str, Any] = method["standing"][METRIC]
    return standing

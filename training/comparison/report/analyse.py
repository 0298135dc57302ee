"""Analyse: scores of a study -> everything that its report says, as plain values.

columns --stand, judge--> standings, judgements --words--> report.json
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from imaging.image import Unit
from imaging.metrics import SSIM_K1, SSIM_K2, MetricContract
from training.comparison.advised import Agreement, agreement
from training.comparison.compare import ADVICE, method_folder
from training.comparison.folds import DATA
from training.comparison.report.collect import Column, Method, costs
from training.comparison.report.terms import spoken
from training.comparison.report.words import advice, advised, chance, diverged, one_for_all, theory, variants
from training.comparison.standings import Difference, Standing, Standings, stand
from training.comparison.statistics import DRAWS, LEVEL, MINIMUM_PATIENTS
from training.comparison.study import Study
from training.comparison.theory import FAVOURITES, Judgement, Metric, judge
from training.comparison.variants import Variation, vary
from training.domains import DOMAINS
from training.errors import InvalidStudy
from training.evaluation.image_scores import CONTRACTS
from training.run_files import json_like

QUESTION = "Which loss suits which noise?"
FORMAT = 1
"""Of report.json; raised when a field changes its meaning."""

PREFERRED_REFERENCE = "l2"
"""What the others are compared with, where the study has it: what most people train with."""

_METRICS: tuple[Metric, ...] = ("psnr", "ssim")


def analyse(study: Study, columns: Sequence[Column], folder: Path) -> dict[str, Any]:
    """The whole of report.json.

    Args:
        study: of the folder.
        columns: of `training.comparison.report.collect.collect`.
        folder: of the study.

    Raises:
        InvalidStudy: nothing is scored yet.
    """
    if not columns:
        raise InvalidStudy(f"nothing in {folder} is scored yet: run `clearslice compare` without --report-only")
    main = CONTRACTS[DOMAINS[study.domain]][0]
    standings = {each.degradation.label: _standings(each, main) for each in columns}
    scores = {each.degradation.label: _values(each, main) for each in columns}
    judgements, variations = judge(scores), vary(scores, "psnr")
    spent = costs(study, folder)
    seconds = {recipe: each["step_seconds"] for recipe, each in spent.items() if "step_seconds" in each}
    by_psnr = [each["psnr"] for each in standings.values()]
    agreements = {
        label: found
        for column, (label, each) in zip(columns, standings.items(), strict=True)
        if (found := _agreement(study, column, folder, each["psnr"])) is not None
    }
    report: dict[str, Any] = {
        "format": FORMAT,
        "question": QUESTION,
        "study": study.to_json(),
        "data": _data(study, folder, columns),
        "unit": DOMAINS[study.domain],
        "contracts": [asdict(each) | {"data_range": each.data_range} for each in CONTRACTS[DOMAINS[study.domain]]],
        "main_contract": main.name,
        "statistics": _spoken(_statistics(), DOMAINS[study.domain]),
        "words": {
            "answer": [
                {
                    "degradation": column.degradation.label,
                    "sentences": [*advice(each["psnr"], each["ssim"], seconds), *diverged(column.diverged)],
                }
                for column, each in zip(columns, standings.values(), strict=True)
            ],
            "all": one_for_all(by_psnr),
            "chance": chance(by_psnr),
            "theory": theory(judgements, by_psnr),
            "advised": advised(agreements),
            "variants": variants(variations),
        },
        "degradations": [
            _degradation(study, each, standings[each.degradation.label], agreements.get(each.degradation.label))
            for each in columns
        ],
        "theory": [_judgement(each) for each in judgements],
        "variants": [_with_real(each) for each in variations],
        "cost": spent,
        "unfinished": _unfinished(study, columns),
    }
    report["words"] = _spoken(report["words"], DOMAINS[study.domain])
    return report


def _standings(column: Column, main: MetricContract) -> dict[Metric, Standings]:
    recipes = [each.name for each in column.methods if each.kind == "recipe"]
    reference = PREFERRED_REFERENCE if PREFERRED_REFERENCE in recipes else recipes[0]
    return {
        metric: stand(column.degradation.label, (metric, main.name), methods, reference)
        for metric, methods in _values(column, main).items()
    }


def _values(column: Column, main: MetricContract) -> dict[Metric, dict[str, Any]]:
    return {
        metric: {each.name: (each.kind, each.by_patient((metric, main.name))) for each in column.methods}
        for metric in _METRICS
    }


def _agreement(study: Study, column: Column, folder: Path, standings: Standings) -> Agreement | None:
    if standings.patients < MINIMUM_PATIENTS:
        return None
    return agreement(folder / method_folder(column.degradation, ADVICE, 0 if study.folds else None), standings)


def _degradation(
    study: Study, column: Column, standings: Mapping[Metric, Standings], agreed: Agreement | None
) -> dict[str, Any]:
    degradation = study.degradation(column.degradation)
    psnr = standings["psnr"]
    methods = {each.name: each for each in column.methods}
    return {
        "label": column.degradation.label,
        "stated": degradation.label,
        "says": degradation.says,
        "favourite": FAVOURITES.get(column.degradation.name),
        "advised": None if agreed is None else asdict(agreed),
        "reference": psnr.reference,
        "patients": psnr.patients,
        "slices": psnr.slices,
        "undefined_slices": column.undefined,
        "seeds": list(column.seeds),
        "missing": list(column.missing),
        "diverged": list(column.diverged),
        "methods": [
            _method(methods[each.method], {metric: standings[metric][each.method] for metric in _METRICS})
            for each in psnr.methods
        ],
    }


def _method(method: Method, standings: Mapping[Metric, Standing]) -> dict[str, Any]:
    return {
        "name": method.name,
        "kind": method.kind,
        "tuned": list(method.tuned),
        "standing": {metric: _standing(each) for metric, each in standings.items()},
        "means": [[*key, mean] for key in method.values if (mean := _mean(method, key)) is not None],
        "phantom": _rounded(method.phantom),
        "slice_milliseconds": method.milliseconds,
    }


def _standing(standing: Standing) -> dict[str, Any]:
    plain: dict[str, Any] = asdict(standing) | {"tied": standing.tied}
    for name in ("to_reference", "to_best"):
        difference: Difference | None = getattr(standing, name)
        plain[name] = difference and asdict(difference) | {"real": difference.real}
    found: dict[str, Any] = json_like(plain)
    return found


def _judgement(judgement: Judgement) -> dict[str, Any]:
    return {"says": judgement.claim.says} | _with_real(judgement)


def _with_real(of: Judgement | Variation) -> dict[str, Any]:
    plain = asdict(of)
    plain["difference"]["real"] = of.difference.real
    found: dict[str, Any] = json_like(plain)
    return found


def _spoken(plain: Any, unit: Unit) -> Any:
    """Plain values, whose texts are in the words of the domain."""
    if isinstance(plain, dict):
        return {key: _spoken(value, unit) for key, value in plain.items()}
    if isinstance(plain, list):
        return [_spoken(value, unit) for value in plain]
    return spoken(plain, unit) if isinstance(plain, str) else plain


def _rounded(plain: Any) -> Any:
    """Plain values with five digits of each number: curves are most of a report, and nobody sees a sixth."""
    if isinstance(plain, dict):
        return {key: _rounded(value) for key, value in plain.items()}
    if isinstance(plain, list):
        return [_rounded(value) for value in plain]
    return float(f"{plain:.5g}") if isinstance(plain, float) else plain


def _mean(method: Method, key: tuple[str, str]) -> float | None:
    """Over patients of means over slices and seeds, of what is defined."""
    means = [float(np.nanmean(values)) for values in method.by_patient(key).values() if np.isfinite(values).any()]
    return float(np.mean(means)) if means else None


def _data(study: Study, folder: Path, columns: Sequence[Column]) -> dict[str, Any]:
    folds = json.loads((folder / DATA).read_text())

    def count(role: str) -> dict[str, int]:
        series = {(each["series"], each["patient"]): each["slices"] for fold in folds for each in fold[role]}
        return {"patients": len({patient for _, patient in series}), "slices": sum(series.values())}

    report = columns[0].methods[0].patients
    return {
        "fit": count("fit"),
        "tune": count("tune"),
        "report": {"patients": len(set(report)), "slices": len(report)},
        "cross_validated": study.folds > 0,
    }


def _statistics() -> dict[str, Any]:
    return {
        "interval": f"95 % hierarchical bootstrap (patient, then slice), {DRAWS} draws; seeds averaged first",
        "to_reference": "exact sign flips of patient means, Holm's correction over the recipes of a degradation",
        "to_best": "the largest t-statistic over all pairs of recipes under sign flips (Westfall & Young)",
        "theory": "exact sign flips of patient means, Holm's correction over the claims about a degradation",
        "level": LEVEL,
        "minimum_patients": MINIMUM_PATIENTS,
        "real": "corrected p at most the level, and the same sign under every seed alone",
        "ssim": f"K1 {SSIM_K1:g}, K2 {SSIM_K2:g}",
    }


def _unfinished(study: Study, columns: Sequence[Column]) -> list[str]:
    reported = {each.degradation.label: each for each in columns}
    sentences = [f"{each.label}: nothing is scored yet" for each in study.degradations if each.label not in reported]
    for label, column in reported.items():
        if column.missing:
            sentences.append(f"{label}: without {', '.join(column.missing)}, not scored yet")
        absent = [str(seed) for seed in study.seeds if seed not in column.seeds]
        if absent:
            sentences.append(f"{label}: without seed {', '.join(absent)}, which not all recipes have")
    return sentences

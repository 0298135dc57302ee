"""Words: the sentences of a report, by rules from its numbers; nothing here knows a result.

    Standings by PSNR and SSIM --advice--> which recipe to take for this degradation
    all Standings -------------one_for_all, chance--> one recipe for all; which differences may be chance
    Judgements ----------------theory--> what was predicted and what came
    Agreements ----------------advised--> what `clearslice advise` says of the noise alone, and what came
    Variations ----------------variants--> what other constants do to a recipe

A difference is called real when `standings.Difference.real` says so; everything else "may be chance". A real one in
PSNR below `NEGLIGIBLE_DB` is said to be too little to choose by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from training.comparison.advised import Agreement
from training.comparison.standings import NEGLIGIBLE_DB, Difference, Standing, Standings
from training.comparison.statistics import MINIMUM_PATIENTS
from training.comparison.theory import FAVOURITES, Judgement, Verdict
from training.comparison.variants import Variation

_LISTED = 4
"""Of more recipes than this only the ends are named; the table has all."""

_FASTER = 1.25
"""A recipe that is as good is named as the cheaper one when training it takes this many times less."""


def amount(metric: str, value: float, *, signed: bool = True) -> str:
    """`+0.12 dB` of PSNR, `+0.0012` of SSIM."""
    sign = "+" if signed else ""
    return f"{value:{sign}.2f} dB" if metric == "psnr" else f"{value:{sign}.4f}"


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def advice(psnr: Standings, ssim: Standings, seconds: Mapping[str, float]) -> list[str]:
    """Which recipe to take under one degradation.

    Args:
        psnr, ssim: of the same methods.
        seconds: recipe -> seconds of a training step.
    """
    best = psnr.recipes[0]
    if psnr.patients < MINIMUM_PATIENTS:
        return [
            (
                f"{best.method} has the best mean PSNR, {amount('psnr', best.mean, signed=False)}, but with"
                f" {psnr.patients} patients nothing is claimed: {MINIMUM_PATIENTS} are the least."
            )
        ]
    if len(psnr.recipes) == 1:
        return [f"{best.method} is the only recipe: nothing is compared.", *_against_filters(psnr)]
    others = [each for each in psnr.recipes[1:] if each.tied]
    close = [each for each in psnr.recipes[1:] if not each.tied and -_to_best(each).mean < NEGLIGIBLE_DB]
    behind = [each for each in psnr.recipes[1:] if not each.tied and each not in close]
    if not others:
        sentences = [
            f"Take {best.method}: {_lead(psnr)} ahead of {psnr.recipes[1].method}, the next, and not by chance."
        ]
    else:
        furthest = max(-_to_best(each).mean for each in others)
        sentences = [
            (
                f"Take {best.method}, or as well {listed([each.method for each in others])}: within"
                f" {amount('psnr', furthest, signed=False)} of it, which may be chance."
            )
        ]
    if close:
        texts = [f"{each.method} ({amount('psnr', _to_best(each).mean)})" for each in close]
        sentences.append(f"Behind, and not by chance, but by too little to choose by: {listed(texts)}.")
    sentences += _cheaper(best, [*others, *close], seconds)
    if behind:
        texts = [f"{each.method} ({amount('psnr', _to_best(each).mean)})" for each in behind]
        many = len(texts) > _LISTED
        who = f"the other {len(texts)}, from {texts[0]} to {texts[-1]}" if many else listed(texts)
        sentences.append(f"Worse, and not by chance: {who}.")
    return [*sentences, *_by_ssim(best, ssim), *_against_filters(psnr)]


def diverged(names: Sequence[str]) -> list[str]:
    """Recipes that failed to train."""
    return [f"The training of {listed(names)} diverged."] if names else []


def one_for_all(columns: Sequence[Standings]) -> list[str]:
    """The recipe that is the best, or tied with it, under most degradations; of equals the one that loses least."""
    columns = [each for each in columns if each.patients >= MINIMUM_PATIENTS and len(each.recipes) > 1]
    if len(columns) < 2:  # noqa: PLR2004 - one degradation has its own sentence
        return []
    names = [name for name in (each.method for each in columns[0].recipes) if all(name in each for each in columns)]
    if not names:
        return []
    tied = {name: sum(each[name].tied for each in columns) for name in names}
    loss = {name: float(np.mean([each.recipes[0].mean - each[name].mean for each in columns])) for name in names}
    best = max(names, key=lambda name: (tied[name], -loss[name]))
    return [
        (
            f"If one recipe must do for all: {best}. It is the best or tied with it under {tied[best]} of"
            f" {len(columns)} degradations, and on average {amount('psnr', loss[best], signed=False)} behind the best."
        )
    ]


def chance(columns: Sequence[Standings]) -> list[str]:
    """Which differences are real, and how far training alone moves a mean."""
    sentences = []
    few = sorted({each.patients for each in columns if each.patients < MINIMUM_PATIENTS})
    if few:
        sentences.append(
            f"With {listed([str(each) for each in few])} patients no difference is called real, however large:"
            f" {MINIMUM_PATIENTS} are the least."
        )
    pairs = [
        each.to_reference
        for column in columns
        if column.patients >= MINIMUM_PATIENTS
        for each in column.recipes
        if each.to_reference is not None
    ]
    if pairs:
        doubtful = [abs(each.mean) for each in pairs if not each.real]
        reference = columns[0].reference
        sentences.append(
            f"Of {len(pairs)} differences in PSNR from {reference} {len(pairs) - len(doubtful)} are real."
            + (f" The others, up to {amount('psnr', max(doubtful), signed=False)}, may be chance." if doubtful else "")
        )
    spreads = [
        max(each.seed_means) - min(each.seed_means)
        for column in columns
        for each in column.recipes
        if len(each.seed_means) > 1
    ]
    if spreads:
        sentences.append(
            "Training the same recipe again under another seed moves its mean PSNR by"
            f" {amount('psnr', float(np.median(spreads)), signed=False)} (median), at most"
            f" {amount('psnr', max(spreads), signed=False)}."
        )
    else:
        sentences.append(
            "One seed was trained: how far training alone moves a mean is not known, so no difference is called real."
            " Add seeds, as with --seed 0 --seed 1."
        )
    return sentences


def theory(judgements: Sequence[Judgement], columns: Sequence[Standings]) -> list[str]:
    """Each claim with where it was confirmed, refuted and left undecided, and what became of theory's first choices."""
    sentences = []
    for claim in dict.fromkeys(each.claim for each in judgements):
        of_claim = [each for each in judgements if each.claim == claim]
        parts = []
        verdicts: tuple[Verdict, ...] = ("confirmed", "refuted", "undecided")
        for verdict in verdicts:
            texts = [
                f"{each.degradation} ({amount(claim.metric, each.difference.mean)}{_p(each.difference)})"
                for each in of_claim
                if each.verdict == verdict
            ]
            if texts:
                parts.append(f"{verdict} under {listed(texts)}")
        sentences.append(f"“{claim.says}”: {claim.reason} ({claim.source}): {'; '.join(parts)}.")
    return [*sentences, *_favourites(columns)]


def advised(agreements: Mapping[str, Agreement]) -> list[str]:
    """In how many degradations the advice names the best recipe or one tied with it; then each of the others.

    Args:
        agreements: label of the degradation -> what came of the advice.
    """
    ranked = {label: each for label, each in agreements.items() if each.outcome != "not ranked"}
    if not ranked:
        return []
    best, tied = (sum(each.outcome == outcome for each in ranked.values()) for outcome in ("best", "tied"))
    close = sum(
        each.outcome in {"best", "tied"} or (each.behind is not None and each.behind < NEGLIGIBLE_DB)
        for each in ranked.values()
    )
    sentences = [
        (
            "clearslice advise, by its rules and from the noise of the tune patients alone, names the best recipe or"
            f" one that cannot be told from it under {best + tied} of {len(ranked)} degradations (the best itself:"
            f" {best}), and under {close} if one that is less than {NEGLIGIBLE_DB} dB behind counts too."
        )
    ]
    for label, each in agreements.items():
        start = f"Under {label} it sees {each.family} noise and names {each.recipe}"
        if each.outcome == "behind" and each.behind is not None:
            distance = amount("psnr", each.behind, signed=False)
            sentences.append(f"{start}, which is {distance} behind the best{_weight(each.behind)}.")
        elif each.outcome == "not ranked":
            sentences.append(f"{start}, which is no row of this study.")
    return sentences


def variants(variations: Sequence[Variation]) -> list[str]:
    """How a recipe under other constants does against its own, in each degradation."""
    sentences = []
    for variant, own in dict.fromkeys((each.variant, each.own) for each in variations):
        texts = [
            f"{amount(each.metric, each.difference.mean)}{_ends(each)} under {each.degradation}"
            f" ({'real' if each.difference.real else 'may be chance'})"
            for each in variations
            if each.variant == variant
        ]
        sentences.append(f"{variant} minus {own}: {listed(texts)}.")
    return sentences


def _ends(variation: Variation) -> str:
    ends = variation.difference.interval
    return (
        "" if ends is None else f" [{', '.join(amount(variation.metric, each).removesuffix(' dB') for each in ends)}]"
    )


def _favourites(columns: Sequence[Standings]) -> list[str]:
    sentences = []
    for column in columns:
        favourite = FAVOURITES.get(column.degradation.partition(":")[0])
        if favourite is None or favourite not in column or column.patients < MINIMUM_PATIENTS:
            continue
        standing, best = column[favourite], column.recipes[0]
        start = f"Under {column.degradation} theory names {favourite} first"
        if standing.to_best is None:
            alone = not any(each.tied for each in column.recipes[1:])
            came = "it is, and alone." if alone else "it leads, but others are tied with it."
        elif standing.tied:
            came = (
                f"{best.method} leads by {amount('psnr', -standing.to_best.mean, signed=False)}, which may be chance."
            )
        else:
            behind = -standing.to_best.mean
            verdict = "it all but leads: it" if behind < NEGLIGIBLE_DB else "theory failed: it"
            distance = amount("psnr", behind, signed=False)
            came = f"{verdict} is {distance} behind {best.method}{_weight(behind)}."
        sentences.append(f"{start}: {came}")
    return sentences


def _weight(behind: float) -> str:
    """Of a real difference in PSNR: what it is worth."""
    return ", not by chance, but too little to choose by" if behind < NEGLIGIBLE_DB else ", and not by chance"


def _by_ssim(best: Standing, ssim: Standings) -> list[str]:
    first, same = ssim.recipes[0], ssim[best.method]
    if same.to_best is None:
        return ["SSIM says the same."]
    distance = amount("ssim", same.to_best.mean)
    if same.tied:
        return [f"SSIM does not contradict: {best.method} is tied with {first.method}, its best ({distance})."]
    return [f"By SSIM take {first.method}: there {best.method} is behind it by more than chance ({distance})."]


def _against_filters(psnr: Standings) -> list[str]:
    filters = [each for each in psnr.methods if each.kind == "baseline"]
    if not filters:
        return []
    best, strongest = psnr.recipes[0], filters[0]
    distance = amount("psnr", abs(best.mean - strongest.mean), signed=False)
    if strongest.mean > best.mean:
        return [
            f"Yet {strongest.method}, no network, is {distance} better than {best.method}: this budget is too small."
        ]
    return [f"Without a network: {strongest.method}, {distance} behind {best.method}."]


def _cheaper(best: Standing, others: Sequence[Standing], seconds: Mapping[str, float]) -> list[str]:
    known = [each.method for each in others if each.method in seconds]
    if best.method not in seconds or not known:
        return []
    cheapest = min(known, key=lambda name: seconds[name])
    ratio = seconds[best.method] / seconds[cheapest]
    return [f"Of these {cheapest} trains {ratio:.1f} times as fast as {best.method}."] if ratio >= _FASTER else []


def _lead(psnr: Standings) -> str:
    return amount("psnr", psnr.recipes[0].mean - psnr.recipes[1].mean, signed=False)


def _to_best(standing: Standing) -> Difference:
    if standing.to_best is None:
        raise ValueError(f"{standing.method} is the best itself")
    return standing.to_best


def _p(difference: Difference) -> str:
    return "" if difference.p is None else f", p {difference.p:.2g}"

"""Theory: what is said about losses, as claims that scores can confirm or refute.

    CLAIMS of a degradation --compare_two--> differences --Holm over these claims--> Judgement
                                                                                     confirmed, refuted, undecided

Claims were written before any score was seen, so Holm's correction over those of a degradation holds. They are kept as
they are usually made, not as they ought to be: a network that is trained on clean targets learns the posterior mean
under L2 whatever the noise of its input, and the mean is best in squared error, so the claims about tails are claims
about how training behaves with few data and few steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from training.comparison.standings import Difference, Kind, Values, compare_two
from training.comparison.statistics import holm

Verdict = Literal["confirmed", "refuted", "undecided"]
Metric = Literal["psnr", "ssim"]


@dataclass(frozen=True)
class Claim:
    """One recipe is better than another under some degradations.

    Attributes:
        better, worse: recipes with their own settings.
        metric: of which the claim is made.
        degradations: where it is made, whatever their settings.
        reason: half a sentence.
        source: who says so.
        margin: if not 0 the claim is that the two differ by at most this much.
    """

    better: str
    worse: str
    metric: Metric
    degradations: tuple[str, ...]
    reason: str
    source: str
    margin: float = 0.0

    @property
    def says(self) -> str:
        """The claim in words."""
        name = {"psnr": "PSNR", "ssim": "SSIM"}[self.metric]
        if self.margin:
            return f"{self.better} is within {self.margin:g} of {self.worse} in {name}"
        return f"{self.better} beats {self.worse} in {name}"


@dataclass(frozen=True)
class Judgement:
    """A claim under one degradation; `difference` is better minus worse, p by Holm over the claims about it."""

    claim: Claim
    degradation: str
    difference: Difference
    verdict: Verdict


FAVOURITES = {
    "gaussian": "l2",
    "poisson": "l2",
    "poisson-gaussian": "l2",
    "low-dose": "l2",
    "low-dose-sharp": "l2",
    "low-dose-matched": "l2",
    "low-dose-thin": "l2",
    "sparse-views": "focal-frequency",
    "laplace": "l1",
    "impulse": "l1",
    "contaminated": "huber",
}
"""Degradation -> the recipe that theory names first, as in the table of recipes."""

_LOW_DOSES = ("low-dose", "low-dose-sharp", "low-dose-matched", "low-dose-thin")
_GAUSSIAN = ("gaussian", "poisson", "poisson-gaussian", *_LOW_DOSES)
_ALL = tuple(FAVOURITES)

CLAIMS = (
    Claim(
        "l2", "l1", "psnr", _GAUSSIAN, "the posterior mean has the least squared error", "Bishop 2006, section 1.5.5"
    ),
    Claim("l1", "l2", "psnr", ("laplace", "impulse"), "the median is efficient under heavy tails", "Huber 1964"),
    Claim("huber", "l2", "psnr", ("contaminated",), "outliers pull the mean, Huber bounds them", "Huber 1964"),
    Claim("huber", "l1", "psnr", ("contaminated",), "where there are no outliers Huber is the mean", "Huber 1964"),
    Claim("l1", "l2", "ssim", _ALL, "L2 over-smooths, L1 is sharper", "Zhao et al. 2017"),
    Claim("l1-ssim", "l1", "ssim", _ALL, "a loss with SSIM keeps structure", "Zhao et al. 2017"),
    Claim("ms-ssim-l1", "l1", "ssim", _ALL, "MS-SSIM with L1 looks better than each alone", "Zhao et al. 2017"),
    Claim(
        "focal-frequency",
        "l1",
        "ssim",
        (*_LOW_DOSES, "sparse-views"),
        "it brings back the frequencies that correlated noise hides",
        "Jiang et al. 2021",
    ),
    Claim("l2", "perceptual", "psnr", _ALL, "perception is paid for in distortion", "Blau & Michaeli 2018"),
    Claim("l2", "adversarial", "psnr", _ALL, "perception is paid for in distortion", "Blau & Michaeli 2018"),
    Claim(
        "noise2noise",
        "l2",
        "psnr",
        ("gaussian", "poisson", "poisson-gaussian"),
        "noise of mean 0 in the target does not move the mean",
        "Lehtinen et al. 2018",
        margin=0.1,
    ),
)


def judge(
    scores: Mapping[str, Mapping[Metric, Mapping[str, tuple[Kind, Values]]]], *, seed: int = 0
) -> list[Judgement]:
    """Every claim under every degradation for which the study has both recipes; each degradation is corrected alone.

    Args:
        scores: label of the degradation -> metric -> method -> (kind, scores), as `standings.stand` takes them.
        seed: of the bootstrap.
    """
    judgements: list[Judgement] = []
    for degradation, metrics in scores.items():
        name = degradation.partition(":")[0]
        found = [
            (claim, compare_two(methods[claim.better][1], methods[claim.worse][1], seed=seed))
            for claim in CLAIMS
            if name in claim.degradations
            and {claim.better, claim.worse} <= (methods := metrics.get(claim.metric, {})).keys()
        ]
        tested = [place for place, (claim, each) in enumerate(found) if each.p is not None and not claim.margin]
        corrected = dict(zip(tested, holm([found[place][1].p or 0.0 for place in tested]), strict=True))
        for place, (claim, difference) in enumerate(found):
            pair = replace(difference, p=corrected.get(place))
            judgements.append(Judgement(claim, degradation, pair, _verdict(claim, pair)))
    return judgements


def _verdict(claim: Claim, difference: Difference) -> Verdict:
    if claim.margin:
        # an equivalence: the whole interval within the margin confirms it, one wholly outside refutes it
        if difference.interval is None:
            return "undecided"
        low, high = difference.interval
        if -claim.margin <= low and high <= claim.margin:
            return "confirmed"
        return "refuted" if high < -claim.margin or low > claim.margin else "undecided"
    if not difference.real:
        return "undecided"
    return "confirmed" if difference.mean > 0 else "refuted"

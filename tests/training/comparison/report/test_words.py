"""The sentences, from made-up scores: a clear winner, a tie, a failed theory, too few patients."""

from __future__ import annotations

import numpy as np

from training.comparison.advised import Agreement
from training.comparison.report.words import advice, advised, amount, chance, listed, one_for_all, theory, variants
from training.comparison.standings import stand
from training.comparison.theory import judge
from training.comparison.variants import vary


def values(gain: float, *, patients: int = 10, chance: float = 0.01, seed: int = 0, seeds: int = 2):
    rng = np.random.default_rng((seed, int(1e4 * abs(gain))))
    return {f"p{each}": 30 + each + gain + chance * rng.normal(size=(seeds, 2)) for each in range(patients)}


def standings(degradation: str = "gaussian", *, filters=(), reference: str = "l2", metric: str = "psnr", **recipes):
    methods = {name: ("recipe", each) for name, each in recipes.items()}
    methods |= {name: ("baseline", each) for name, each in filters}
    return stand(degradation, (metric, "window"), methods, reference)


CLEAR = {"l2": values(0.0), "l1": values(0.5), "huber": values(-0.3)}
TIE = {"l2": values(0.0, chance=0.4), "l1": values(0.05, chance=0.4), "huber": values(-2.0)}


def text(psnr, ssim=None, seconds=None) -> str:
    return " ".join(advice(psnr, ssim or psnr, seconds or {}))


def test_advice_is_counted_and_where_it_failed_that_is_said():
    outcomes = {
        "gaussian": Agreement("gaussian", "l2", {}, "", "best", 0.0),
        "laplace": Agreement("laplace", "l1", {}, "", "tied", 0.03),
        "impulse": Agreement("impulse", "l1", {}, "", "behind", 1.2),
        "poisson": Agreement("poisson", "l2", {}, "", "not ranked", None),
        "low-dose": Agreement("low-dose", "l2", {}, "", "behind", 0.04),
    }
    count, *others = advised(outcomes)
    assert "under 2 of 4 degradations (the best itself: 1), and under 3 if one that is less than 0.1 dB" in count
    assert others == [
        "Under impulse it sees impulse noise and names l1, which is 1.20 dB behind the best, and not by chance.",
        "Under poisson it sees poisson noise and names l2, which is no row of this study.",
        (
            "Under low-dose it sees low-dose noise and names l2, which is 0.04 dB behind the best, not by chance, but"
            " too little to choose by."
        ),
    ]
    assert advised({}) == []


def test_a_clear_winner_is_named_alone():
    said = text(standings(**CLEAR))
    assert said.startswith("Take l1: 0.50 dB ahead of l2, the next, and not by chance.")
    assert "Worse, and not by chance: l2 (-0.50 dB) and huber (-0.80 dB)." in said
    assert "SSIM says the same." in said


def test_a_real_difference_may_be_too_little_to_choose_by():
    psnr = standings(l2=values(-0.05), l1=values(0.0), huber=values(-0.3))
    assert not psnr["l2"].tied
    said = text(psnr, seconds={"l2": 0.1, "l1": 0.2, "huber": 0.1})
    assert "Behind, and not by chance, but by too little to choose by: l2 (-0.05 dB)." in said
    assert "Of these l2 trains 2.0 times as fast as l1." in said
    assert "Worse, and not by chance: huber (-0.3" in said
    assert any("it all but leads: it is 0.05 dB behind l1" in each for each in theory([], [psnr]))


def test_a_tie_is_called_one():
    psnr = standings(**TIE)
    said = text(psnr)
    best, other = (each.method for each in psnr.recipes[:2])
    distance = f"{psnr.recipes[0].mean - psnr.recipes[1].mean:.2f}"
    assert said.startswith(f"Take {best}, or as well {other}: within {distance} dB of it, which may be chance.")
    assert "Worse, and not by chance: huber" in said
    assert f"Of these {other} trains 2.0 times as fast as {best}." in text(psnr, seconds={best: 0.2, other: 0.1})
    assert "times as fast" not in text(psnr, seconds={best: 0.11, other: 0.1})


def test_ssim_may_say_something_else():
    other = {"l2": values(0.0), "l1": values(0.1), "huber": values(0.9)}
    psnr = standings(**CLEAR)
    said = text(psnr, standings(metric="ssim", **other))
    assert "By SSIM take huber: there l1 is behind it by more than chance (-0.79" in said
    unsure = {"l2": values(-2.0), "l1": values(0.0, chance=0.4), "huber": values(0.05, chance=0.4)}
    psnr = standings(l2=values(0.0), l1=values(0.5), huber=values(0.3))
    ssim = standings(metric="ssim", **unsure)
    said = text(psnr, ssim)
    first = ssim.recipes[0].method
    assert ("SSIM says the same" if first == "l1" else f"l1 is tied with {first}, its best") in said


def test_under_six_patients_nothing_is_claimed():
    few = standings(l2=values(0.0, patients=5), l1=values(3.0, patients=5))
    said = text(few)
    assert said == (
        f"l1 has the best mean PSNR, {few['l1'].mean:.2f} dB, but with 5 patients nothing is claimed: 6 are the least."
    )
    assert "With 5 patients no difference is called real, however large: 6 are the least." in chance([few])
    assert one_for_all([few, few]) == []


def test_a_single_recipe_is_not_praised():
    assert text(standings(l2=values(0.0))) == "l2 is the only recipe: nothing is compared."


def test_filters_are_named_when_they_win_and_when_they_lose():
    weak = standings(filters=[("median", values(-1.0, seeds=1)), ("degraded", values(-3.0, seeds=1))], **CLEAR)
    assert "Without a network: median, 1.50 dB behind l1." in text(weak)
    strong = standings(filters=[("median", values(1.0, seeds=1))], **CLEAR)
    assert "Yet median, no network, is 0.50 dB better than l1: this budget is too small." in text(strong)


def test_the_recipe_for_all_is_tied_most_often_and_loses_least():
    columns = [
        standings("gaussian", l2=values(0.0), l1=values(0.5), huber=values(0.3)),
        standings("laplace", l2=values(0.0), l1=values(0.5), huber=values(0.3)),
        standings("impulse", l2=values(2.0), l1=values(0.0), huber=values(1.8)),
    ]
    [said] = one_for_all(columns)
    assert said == (
        "If one recipe must do for all: l1. It is the best or tied with it under 2 of 3 degradations, and on average"
        f" {np.mean([each.recipes[0].mean - each['l1'].mean for each in columns]):.2f} dB behind the best."
    )
    assert one_for_all(columns[:1]) == []


def test_what_may_be_chance_is_counted():
    said = chance([standings(**CLEAR), standings(**TIE)])
    doubtful = abs(standings(**TIE)["l1"].to_reference.mean)
    assert said[0] == (
        f"Of 4 differences in PSNR from l2 3 are real. The others, up to {doubtful:.2f} dB, may be chance."
    )
    assert said[1].startswith("Training the same recipe again under another seed moves its mean PSNR by 0.0")
    alone = {name: {patient: each[:1] for patient, each in of.items()} for name, of in CLEAR.items()}
    said = chance([standings(**alone)])
    assert said[0].startswith("Of 2 differences in PSNR from l2 0 are real")
    assert said[-1].startswith("One seed was trained")


def test_of_many_that_are_worse_the_ends_are_named():
    said = text(
        standings(l1=values(2.0), l2=values(0.0), a=values(-0.5), b=values(-1.0), c=values(-1.5), d=values(-2.0))
    )
    assert "Worse, and not by chance: the other 5, from l2 (-2.00 dB) to d (-4.00 dB)." in said


def test_classic_constants_stand_beside_the_recipes_own():
    methods = {"huber": values(0.5), "huber:delta=0.5": values(0.0), "l1-ssim:ssim_weight=0.2": values(0.1)}
    scores = {"contaminated": {"psnr": {name: ("recipe", each) for name, each in methods.items()}}}
    [variation] = vary(scores, "psnr")  # of l1-ssim the study has no other
    assert variation.difference.p == 2 / 2**10
    assert variants([variation])[0].startswith("huber:delta=0.5 minus huber: -0.50 dB [-0.5")
    assert variants([variation])[0].endswith("] under contaminated (real).")
    few = {name: ("recipe", values(gain, patients=4)) for name, gain in (("huber", 0.5), ("huber:delta=0.5", 0.0))}
    assert variants(vary({"contaminated": {"psnr": few}}, "psnr")) == [
        (
            f"huber:delta=0.5 minus huber: {vary({'contaminated': {'psnr': few}}, 'psnr')[0].difference.mean:+.2f} dB"
            " under contaminated (may be chance)."
        )
    ]


def judged(degradation: str, **recipes):
    methods = {name: ("recipe", each) for name, each in recipes.items()}
    return judge({degradation: {"psnr": methods, "ssim": methods}})


def test_a_failed_theory_is_said_to_have_failed():
    said = theory(judged("gaussian", **CLEAR), [standings(**CLEAR)])
    assert said[0].startswith("“l2 beats l1 in PSNR”: the posterior mean")
    assert "refuted under gaussian (-0.50 dB, p " in said[0]
    assert said[-1] == (
        "Under gaussian theory names l2 first: theory failed: it is 0.50 dB behind l1, and not by chance."
    )


def test_a_theory_that_held_and_one_that_cannot_be_told():
    held = {"l2": values(0.5), "l1": values(0.0)}
    said = theory(judged("gaussian", **held), [standings(**held)])
    assert "confirmed under gaussian (+0.50 dB" in said[0]
    assert said[-1] == "Under gaussian theory names l2 first: it is, and alone."
    unsure = {"l2": values(0.0, chance=0.4), "l1": values(0.05, chance=0.4)}
    said = theory(judged("gaussian", **unsure), [standings(**unsure)])
    assert "undecided under gaussian" in said[0]
    assert "chance" in said[-1] or "tied" in said[-1]
    few = {name: values(gain, patients=5) for name, gain in (("l2", 0.0), ("l1", 3.0))}
    said = theory(judged("gaussian", **few), [standings(**few)])
    assert all("undecided" in each for each in said)
    assert len(said) == 2  # and nothing about what theory names first


def test_small_words():
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a and b"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert (amount("psnr", 0.123), amount("ssim", -0.01234), amount("psnr", 2, signed=False)) == (
        "+0.12 dB",
        "-0.0123",
        "2.00 dB",
    )

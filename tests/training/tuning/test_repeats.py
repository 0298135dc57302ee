from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from imaging.metrics import SOFT_TISSUE, psnr
from training.claims import Claim
from training.data.datasets import evaluation_pairs
from training.degradations import DoseProtocol
from training.fit import FitSettings, fit
from training.networks.unet import UNetConfig
from training.probes import restore_slice
from training.tuning.repeats import Arm, Gain, gain, patient_mean, repeat
from training.tuning.search_space import TuneSettings
from training.tuning.trials import Search

FIT = FitSettings("ct-huber", epochs=1, steps=2, batch=2, patch=32, network=UNetConfig((4, 6), 1))


def scores(values, metric="psnr"):
    """One patient, "p", of as many slices as there are values, or several: {patient: values}."""
    by_patient = values if isinstance(values, dict) else {"p": values}
    return {metric: [[patient, value] for patient, each in by_patient.items() for value in each]}


def test_means_are_over_patients_of_means_over_slices():
    assert patient_mean(scores({"p": [30.0, 32.0], "q": [10.0]}), "psnr") == 20.5


def test_gains_are_paired_by_seed_and_slice():
    # slices differ by 10 dB, seeds by 1 dB, and the arms by 0.2 or 0.4 dB
    ours = [scores([30.2, 40.2]), scores([31.4, 41.4]), scores([30.2, 40.2])]
    theirs = [scores([30.0, 40.0]), scores([31.0, 41.0]), scores([30.0, 40.0])]
    found = gain(ours, theirs, "psnr")
    assert found.by_seed == pytest.approx((0.2, 0.4, 0.2))
    assert found.mean == pytest.approx(0.8 / 3)
    assert found.interval == pytest.approx((0.2, 0.4))  # in 1 of 27 draws all seeds are the second: 3.7 %
    assert found.clear
    other = gain(theirs, ours, "psnr")
    assert other.mean == pytest.approx(-found.mean)
    assert other.clear


def test_what_seeds_do_not_agree_on_is_not_clear():
    ours, theirs = [scores([30.3]), scores([29.9]), scores([30.2])], [scores([30.0])] * 3
    assert not gain(ours, theirs, "psnr").clear
    assert not Gain(0.3, (0.2, 0.4), (0.2, 0.4)).clear  # two seeds
    assert gain(ours[:1], theirs[:1], "psnr") == Gain(pytest.approx(0.3), None, (pytest.approx(0.3),))


@pytest.fixture(scope="module")
def search(prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    return Search(TuneSettings(FIT), [prepared("a", 1)], [prepared("b", 2), prepared("c", 3)], folder)


@pytest.fixture(scope="module")
def arms():
    return [Arm("best", replace(FIT, learning_rate=5e-3)), Arm("own", FIT)]


def test_every_arm_is_trained_under_every_seed_and_scored_on_every_slice(search, arms, tmp_path):
    told = []
    found = repeat(search, arms, [1, 2], progress=lambda *state: told.append(state))
    assert {state[0] for state in told} == {
        "repeat 1/4: best",
        "repeat 2/4: own",
        "repeat 3/4: best",
        "repeat 4/4: own",
    }
    assert len(list((search.folder / "repeats").glob("*.json"))) == 4
    assert not list((search.folder / "work").iterdir())

    model = fit(replace(FIT, seed=2), search.fit_series, [], tmp_path / "same")
    restore = restore_slice(model)
    expected = [
        [each.patient, float(psnr(restore(degraded), reference, SOFT_TISSUE))]
        for each in search.tune_series
        for degraded, reference in evaluation_pairs(each, DoseProtocol())
    ]
    assert found[1][1]["psnr"] == expected
    assert len(expected) == 4
    assert all(math.isfinite(value) for arm in found for seed in arm for _, value in seed["ssim"])
    assert np.ptp([patient_mean(each, "psnr") for each in found[0]]) > 0  # seeds differ


def test_what_is_there_is_not_trained_again(search, arms):
    repeat(search, arms, [1, 2])
    assert repeat(search, arms, [1, 2], progress=pytest.fail) == repeat(search, arms[::-1], [1, 2])[::-1]
    (first, *_) = (search.folder / "repeats").glob("*.json")
    plain = json.loads(first.read_text())
    assert FitSettings.from_json(plain["settings"]).model == "ct-huber"


def test_a_repeat_that_another_worker_is_at_is_left_to_them(search, arms):
    """The other one is a thread here; its claim is on the same file."""
    repeat(search, arms, [1, 2])
    arm = Arm("own", replace(FIT, seed=1))
    file = search.folder / "repeats" / f"{arm.digest}.json"
    done = file.read_bytes()
    file.unlink()
    claim = Claim.take(search.claim_file(f"repeat-{arm.digest}"))
    assert claim is not None
    waited = []

    class Other:
        """Finishes its work as soon as somebody waits for it."""

        @staticmethod
        def wait(claimed):
            waited.append(claimed.name)
            file.write_bytes(done)
            claim.release()
            return Claim.wait(claimed)

        take = Claim.take

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.tuning.repeats.Claim", Other)
        repeat(search, arms, [1, 2], progress=pytest.fail)
    assert waited == [f"repeat-{arm.digest}"]

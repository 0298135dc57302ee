"""Every degradation of the laboratory, recognised from what it does to images."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from imaging.noise.blind import profile_from_noisy
from imaging.noise.pairs import profile_from_pairs
from imaging.phantom import trunk
from training.advice.noise_families import imitation, recognise
from training.data.datasets import evaluation_pairs
from training.data.pairs import prepare_series
from training.data.pictures import package_pictures
from training.degradations import DEGRADATIONS, parse_degradation

SIDE, SPACING, SLICES = 320, (1.2, 1.2), 2

UNTOLD_WITHOUT_REFERENCE = {
    # 12 bits cut air off, and inside the patient the signal is nearly the same everywhere
    ("ct", "poisson"): "gaussian",
    ("ct", "poisson-gaussian"): "gaussian",
    ("relative", "poisson"): "poisson-gaussian",  # texture adds a part that does not follow the signal
    ("ct", "sparse-views"): "low-dose",  # where tissue is flat, streaks look like the noise of few photons
}
"""Where noisy images alone lead to another family; the advised recipe is the same."""

# whose texture a low dose has cannot be seen: that one is a low dose like any other; nor is "any level" one level
CASES = [
    (domain, name)
    for domain, rows in DEGRADATIONS.items()
    for name in rows
    if name not in {"low-dose-matched", "low-dose-thin"} and not name.endswith("-levels")
]


@pytest.fixture(scope="module")
def images(ct_series, tmp_path_factory):
    rng = np.random.default_rng(0)
    volume = np.stack([trunk((SIDE, SIDE), SPACING, rng, region=region) for region in ("abdomen", "chest")])
    ct = ct_series("ct", volume=volume, spacing=SPACING, slices=SLICES)
    return {
        "ct": [prepare_series(ct, tmp_path_factory.mktemp("cache"), average=False, processes=1)],
        "relative": package_pictures("report"),
    }


@pytest.fixture(scope="module")
def pairs(images):
    made = {}

    def get(domain, name):
        if (domain, name) not in made:
            degradation = DEGRADATIONS[domain][name]
            both = [pair for each in images[domain] for pair in evaluation_pairs(each, degradation)]
            made[domain, name] = [noisy for noisy, _ in both], [clean for _, clean in both]
        return made[domain, name]

    return get


@pytest.mark.parametrize(("domain", "name"), CASES)
def test_pairs_show_the_family_and_its_numbers(domain, name, pairs):
    degradation = DEGRADATIONS[domain][name]
    profile = profile_from_pairs(*pairs(domain, name), "HU" if domain == "ct" else "relative")
    assert recognise(profile) == name
    found = imitation(profile, domain)
    assert found.name == name
    for setting in ("sigma", "share", "photons", "outlier_factor"):
        if setting in degradation.settings:
            assert found.settings[setting] == pytest.approx(degradation.settings[setting], rel=0.1)


@pytest.mark.parametrize(("domain", "name"), CASES)
def test_noisy_images_alone_show_the_family(domain, name, pairs):
    profile = profile_from_noisy(pairs(domain, name)[0], "HU" if domain == "ct" else "relative")
    assert recognise(profile) == UNTOLD_WITHOUT_REFERENCE.get((domain, name), name)


def test_the_imitation_of_a_low_dose_has_the_measured_level(pairs):
    """Of a scan with noise 5 HU, a quarter of the dose adds sqrt(3) times 5 HU."""
    profile = profile_from_pairs(*pairs("ct", "low-dose"), "HU")
    own = profile.level / np.sqrt(3)
    assert imitation(profile, "ct", own_noise=own).settings["dose_fraction"] == pytest.approx(0.25)
    assert imitation(profile, "ct").settings == parse_degradation("low-dose", "ct").settings


def test_without_noise_there_is_nothing_to_imitate(images):
    clean = list(images["ct"][0].images)
    profile = profile_from_pairs(clean, clean, "HU")
    assert recognise(profile) == "none"
    assert imitation(profile, "ct") is None


def test_correlated_noise_of_pictures_has_no_degradation_of_its_own(images):
    rng = np.random.default_rng(1)
    clean = [image for each in images["relative"] for image in each.images]
    noise = [ndimage.gaussian_filter(rng.standard_normal(image.shape), 1) for image in clean]
    noisy = [(image + 0.05 * each / each.std()).astype(np.float32) for image, each in zip(clean, noise, strict=True)]
    profile = profile_from_pairs(noisy, clean, "relative")
    assert recognise(profile) == "correlated"
    assert imitation(profile, "relative").name == "gaussian"

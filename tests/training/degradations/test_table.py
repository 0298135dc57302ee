from __future__ import annotations

import pickle

import numpy as np
import pytest

from training.data.datasets import evaluation_pairs
from training.data.pairs import Repeats
from training.data.pictures import picture_series
from training.degradations import (
    DEGRADATIONS,
    DoseProtocol,
    DoseRange,
    degradation_from_json,
    parse_degradation,
    prepare_degradation,
)
from training.degradations.degradation import SETTINGS
from training.domains import DOMAINS
from training.errors import ImpossibleSetting, UnknownDegradation, UnknownSetting, UnsuitableSeries

ROWS = [row for rows in DEGRADATIONS.values() for row in rows.values()]
EVERY = pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.domain}-{row.name}")


@pytest.fixture(scope="module")
def series_of(prepared):
    rng = np.random.default_rng(0)
    pictures = picture_series("picture", rng.uniform(0.2, 0.8, (2, 96, 96)).astype(np.float32))
    return {"ct": prepared("a", 1), "relative": pictures}


def test_all_families_are_there_for_every_domain():
    white = ["gaussian", "poisson", "poisson-gaussian", "laplace", "impulse", "contaminated"]
    assert list(DEGRADATIONS) == list(DOMAINS)
    assert list(DEGRADATIONS["ct"]) == [
        "low-dose",
        "low-dose-sharp",
        "low-dose-matched",
        "low-dose-thin",
        "sparse-views",
        *white,
    ]
    assert list(DEGRADATIONS["relative"]) == [*white, "gaussian-levels", "impulse-levels"]
    for domain, rows in DEGRADATIONS.items():
        assert all(row.name == name and row.domain == domain for name, row in rows.items())


@pytest.mark.parametrize(("domain", "level", "middle"), [("ct", 40.0, 0.0), ("relative", 0.1, 0.5)])
@pytest.mark.parametrize("name", ["gaussian", "poisson", "poisson-gaussian", "laplace", "contaminated"])
def test_the_defaults_have_the_same_deviation(domain, level, middle, name):
    flat = picture_series("flat", np.full((1, 500, 500), middle, np.float32))
    window = (0, slice(0, 500), slice(0, 500))
    noise = DEGRADATIONS[domain][name](flat, window, np.random.default_rng(0)).astype(np.float64) - middle
    assert noise.std() == pytest.approx(level, rel=0.02)


def test_levels_are_drawn_anew_for_every_image_over_the_whole_range():
    flat = picture_series("flat", np.full((1, 64, 64), 0.5, np.float32))
    window, rng = (0, slice(0, 64), slice(0, 64)), np.random.default_rng(0)

    def drawn(name):
        row = DEGRADATIONS["relative"][name]
        return [row(flat, window, rng) - np.float32(0.5) for _ in range(400)]

    sigma = np.log([noise.std() for noise in drawn("gaussian-levels")])
    assert np.exp(sigma.min()) == pytest.approx(0.01, rel=0.1)
    assert np.exp(sigma.max()) == pytest.approx(0.25, rel=0.1)
    assert np.median(sigma) == pytest.approx(np.log(0.05), abs=0.2)  # log-uniform: the geometric middle
    share = np.array([(noise != 0).mean() for noise in drawn("impulse-levels")])
    assert share.min() < 0.01
    assert share.max() == pytest.approx(0.3, abs=0.03)
    assert np.median(share) == pytest.approx(0.15, abs=0.02)


@EVERY
def test_every_row_degrades_a_window_and_leaves_the_series_alone(row, series_of):
    series = series_of[row.domain]
    prepare_degradation(row, [series], processes=1)
    before, window = np.array(series.images), (1, slice(8, 72), slice(20, 60))
    degraded = row(series, window, np.random.default_rng(3))
    assert (degraded.shape, degraded.dtype) == ((64, 40), np.float32)
    assert not np.array_equal(degraded, series.images[window])
    np.testing.assert_array_equal(degraded, row(series, window, np.random.default_rng(3)))
    assert not np.array_equal(degraded, row(series, window, np.random.default_rng(4)))
    np.testing.assert_array_equal(series.images, before)


@EVERY
def test_an_evaluation_is_always_the_same_and_its_draws_differ(row, series_of):
    assert isinstance(row, Repeats)
    series = series_of[row.domain]
    first, again, other = (list(evaluation_pairs(series, row, draw=draw)) for draw in (0, 0, 1))
    for (one, reference), (two, _), (three, _) in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(one, two)
        assert not np.array_equal(one, three)
        assert one.shape == reference.shape == (96, 96)
    assert not np.array_equal(first[0][0] - first[0][1], first[1][0] - first[1][1])  # slices have noise of their own


@EVERY
def test_it_goes_to_another_process_and_to_json_and_back(row):
    there = pickle.loads(pickle.dumps(row))  # noqa: S301 - our own
    assert there == row
    assert there.build(**row.settings) == row.build(**row.settings)
    name, value = next(iter(row.settings.items()))
    changed = row.with_settings({name: value / 2})
    assert changed != row
    assert degradation_from_json(changed.to_json()) == changed
    assert changed.to_json() == {"name": row.name, "domain": row.domain, "settings": dict(changed.settings)}
    assert set(row.settings) <= set(SETTINGS)


def test_low_dose_is_the_protocol_of_reports(prepared):
    series = prepared("a", 1)
    low_dose = parse_degradation("low-dose", "ct", {"dose_fraction": 0.1, "electronic_noise": 8})
    for (one, _), (two, _) in zip(
        evaluation_pairs(series, low_dose),
        evaluation_pairs(series, DoseProtocol(0.1, electronic_noise=8)),
        strict=True,
    ):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("gaussian", "gaussian, sigma 40 HU"),
        ("contaminated", "contaminated, sigma 27 HU, share 0.05 of the pixels, outlier factor 5 times sigma"),
        ("poisson", "poisson, photons 625"),
        ("impulse", "impulse, share 0.05 of the pixels, low -1024 HU, high 3071 HU"),
        ("sparse-views", "sparse-views, views 60"),
        ("low-dose", "low-dose, dose fraction 0.25 of the full dose, electronic noise 4 photons"),
    ],
)
def test_labels_state_name_numbers_and_units(name, label):
    assert DEGRADATIONS["ct"][name].label == label


def test_relative_images_have_no_unit_to_state():
    assert DEGRADATIONS["relative"]["gaussian"].label == "gaussian, sigma 0.1"
    assert DoseRange().label.startswith("0.05 to 0.35 of the scan's own dose, or of one that gives 8 to 95 HU")


def test_names_that_do_not_exist_are_refused_with_those_that_do():
    with pytest.raises(UnknownDegradation, match="no degradation 'rain' for ct images; there is: low-dose, "):
        parse_degradation("rain", "ct")
    with pytest.raises(UnknownDegradation, match="'low-dose' for relative images; there is: gaussian, poisson"):
        parse_degradation("low-dose", "relative")
    with pytest.raises(UnknownSetting, match="gaussian has no setting 'share'; its settings: sigma"):
        parse_degradation("gaussian", "ct", {"share": 0.1})


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("gaussian", "sigma", -1.0),
        ("gaussian", "sigma", float("nan")),
        ("gaussian", "sigma", float("inf")),
        ("impulse", "share", 1.01),
        ("contaminated", "outlier_factor", 0.5),
        ("poisson", "photons", 0.0),
        ("low-dose", "dose_fraction", 0.0),
        ("low-dose", "dose_fraction", 1.5),
        ("sparse-views", "views", 1.0),
        ("sparse-views", "views", 60.5),
        ("sparse-views", "views", 181.0),
    ],
)
def test_numbers_that_are_impossible_are_refused(name, setting, value):
    with pytest.raises(ImpossibleSetting, match=f"{setting} of degradation {name} must"):
        parse_degradation(name, "ct", {setting: value})


@pytest.mark.parametrize("name", ["low-dose", "low-dose-sharp", "low-dose-matched", "low-dose-thin", "sparse-views"])
def test_ct_physics_needs_a_scan(name, series_of):
    with pytest.raises(UnsuitableSeries, match="'picture' has no"):
        DEGRADATIONS["ct"][name](series_of["relative"], (0, slice(0, 9), slice(0, 9)), np.random.default_rng(0))

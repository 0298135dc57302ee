"""Metrics against hand values and two independent implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.metrics import structural_similarity

from imaging.metrics import (
    FULL_RANGE,
    RELATIVE,
    SOFT_TISSUE,
    TISSUES,
    MetricContract,
    bias,
    gaussian_window,
    measure,
    mse,
    psnr,
    rmse,
    ssim,
    tissue_bias,
    tissue_masks,
)

UNCLIPPED = MetricContract("unclipped", 0, 100, "HU", clip=False)
METRICS = (mse, rmse, psnr, ssim, bias)


def pair(shape=(24, 31), seed=0, low=-160, high=240):
    """Two correlated float32 images that spread over a range."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[: shape[-2], : shape[-1]]
    base = (low + high) / 2 + (high - low) / 3 * np.sin(rows / 3 + columns / 5)
    noise = generator.normal(0, (high - low) / 15, (2, *shape))
    return (base + noise[0]).astype(np.float32), (base + noise[1]).astype(np.float32)


def test_hand_values():
    reference = np.zeros((12, 12), np.float32)
    restored = reference.copy()
    restored[0, :6] = 12
    restored[1, :6] = -24
    # (6 * 144 + 6 * 576) / 144 = 30; bias (72 - 144) / 144 = -0.5
    assert mse(restored, reference, UNCLIPPED) == pytest.approx(30)
    assert rmse(restored, reference, UNCLIPPED) == pytest.approx(math.sqrt(30))
    assert psnr(restored, reference, UNCLIPPED) == pytest.approx(10 * math.log10(10000 / 30))
    assert bias(restored, reference, UNCLIPPED) == pytest.approx(-0.5)


def test_clipping_is_that_of_a_window():
    reference, restored = np.full((11, 11), 500, np.float32), np.full((11, 11), 1000, np.float32)
    assert rmse(restored, reference, SOFT_TISSUE) == 0  # both are white in the window
    assert rmse(restored, reference, FULL_RANGE) == 500
    assert rmse(np.full((11, 11), 200, np.float32), reference, SOFT_TISSUE) == 40


def test_the_declared_contracts():
    assert (SOFT_TISSUE.low, SOFT_TISSUE.high, SOFT_TISSUE.data_range, SOFT_TISSUE.unit) == (-160, 240, 400, "HU")
    assert (FULL_RANGE.low, FULL_RANGE.high, FULL_RANGE.data_range, FULL_RANGE.unit) == (-1024, 3071, 4095, "HU")
    assert (RELATIVE.low, RELATIVE.high, RELATIVE.data_range, RELATIVE.unit) == (0, 1, 1, "relative")


def test_ssim_of_constants_by_hand():
    # no variance: only the luminance term, on values that start at the low end of the range
    contract = MetricContract("hand", -160, 240, "HU")
    restored, reference = np.full((11, 11), -110, np.float32), np.full((11, 11), -60, np.float32)
    c1 = (0.01 * 400) ** 2
    assert ssim(restored, reference, contract) == pytest.approx((2 * 50 * 100 + c1) / (50**2 + 100**2 + c1), rel=1e-12)


def test_ssim_of_one_window_by_hand():
    """11 x 11 pixels hold one window, so the map is one number; the sums are written out here."""
    restored, reference = (image.astype(np.float64) for image in pair((11, 11), low=0, high=100))
    weights = np.array([[math.exp(-((i - 5) ** 2 + (j - 5) ** 2) / 4.5) for j in range(11)] for i in range(11)])
    weights /= weights.sum()
    mean_a, mean_b = (weights * restored).sum(), (weights * reference).sum()
    var_a, var_b = (weights * (restored - mean_a) ** 2).sum(), (weights * (reference - mean_b) ** 2).sum()
    covariance = (weights * (restored - mean_a) * (reference - mean_b)).sum()
    c1, c2 = 1.0, 9.0  # (0.01 * 100)^2, (0.03 * 100)^2
    expected = (
        (2 * mean_a * mean_b + c1) * (2 * covariance + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    )
    assert ssim(restored, reference, UNCLIPPED) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("contract", [SOFT_TISSUE, FULL_RANGE, RELATIVE])
@pytest.mark.parametrize("shape", [(24, 31), (11, 40), (64, 64)])
def test_ssim_as_scikit_image_computes_it(contract, shape):
    restored, reference = pair(shape, low=contract.low, high=contract.high)
    a, b = (
        np.clip(image, contract.low, contract.high).astype(np.float64) - contract.low for image in (restored, reference)
    )
    # its Gaussian is cut at truncate * sigma = 5.25 -> 5 pixels either side; it crops the border itself
    _, full = structural_similarity(
        a, b, data_range=contract.data_range, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    assert ssim(restored, reference, contract) == pytest.approx(full[5:-5, 5:-5].mean(), abs=1e-12)


def test_psnr_and_ssim_as_tensorflow_computes_them(monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    tensorflow = pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    restored, reference = pair((3, 32, 40))
    a, b = (np.clip(image, -160, 240)[..., None] + np.float32(160) for image in (restored, reference))
    theirs = tensorflow.image.ssim(a, b, 400.0).numpy()
    np.testing.assert_allclose(ssim(restored, reference, SOFT_TISSUE), theirs, atol=2e-5)
    theirs = tensorflow.image.psnr(a, b, 400.0).numpy()
    np.testing.assert_allclose(psnr(restored, reference, SOFT_TISSUE), theirs, atol=1e-4)


def test_identical_images():
    image, _ = pair()
    result = measure(image, image.copy(), SOFT_TISSUE)
    assert (result.psnr, result.rmse, result.bias) == (math.inf, 0, 0)
    assert result.ssim == pytest.approx(1, abs=1e-12)
    assert result.contract is SOFT_TISSUE


def test_measure_holds_the_single_metrics():
    restored, reference = pair()
    result = measure(restored, reference, FULL_RANGE)
    assert all(type(value) is float for value in (result.psnr, result.ssim, result.rmse, result.bias))
    for metric in (psnr, ssim, rmse, bias):
        assert getattr(result, metric.__name__) == metric(restored, reference, FULL_RANGE)


@pytest.mark.parametrize("metric", METRICS)
def test_a_batch_gives_one_score_an_image(metric):
    restored, reference = pair((3, 16, 18))
    scores = metric(restored, reference, SOFT_TISSUE)
    assert scores.shape == (3,)
    assert scores.dtype == np.float64
    for score, x, y in zip(scores, restored, reference, strict=True):
        assert score == metric(x, y, SOFT_TISSUE)
        assert metric(x, y, SOFT_TISSUE).shape == ()


@given(arrays(np.float32, (2, 12, 13), elements=st.floats(-2000, 4000, width=32)))
def test_bounds_and_symmetry(images):
    a, b = images
    for contract in (SOFT_TISSUE, FULL_RANGE):
        assert -1 - 1e-9 <= ssim(a, b, contract) <= 1 + 1e-9
        assert ssim(a, b, contract) == pytest.approx(ssim(b, a, contract), abs=1e-9)
        assert psnr(a, b, contract) >= 0  # the error cannot exceed the range
        assert abs(bias(a, b, contract)) <= rmse(a, b, contract) + 1e-9


def test_ssim_is_precise_far_from_zero():
    """A tiny difference on 3000 HU: the variances are 0.01, the means 4000 from the low end."""
    reference = np.full((32, 32), 3000.0)
    reference[::2] += 0.2
    restored = np.full((32, 32), 3000.0)
    restored[1::2] += 0.2
    shifted = [image - 3000.0 for image in (restored, reference)]
    contract = MetricContract("tiny", -1000, 3500, "HU", clip=False)
    moved = MetricContract("tiny", -4000, 500, "HU", clip=False)
    assert ssim(restored, reference, contract) == pytest.approx(ssim(*shifted, moved), abs=1e-13)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("restored", "reference"),
    [
        (np.zeros((12, 12), np.float32), np.zeros((12, 13), np.float32)),
        (np.zeros((12, 12), np.float32), np.zeros((12, 12, 1), np.float32)),
        (np.zeros((1, 12, 12), np.float32), np.zeros((12, 12), np.float32)),
        (np.zeros((1, 12, 12, 1), np.float32), np.zeros((1, 12, 12, 1), np.float32)),
        (np.zeros(12, np.float32), np.zeros(12, np.float32)),
        (np.zeros((0, 12), np.float32), np.zeros((0, 12), np.float32)),
        (np.zeros((12, 12), np.int16), np.zeros((12, 12), np.int16)),
        (np.zeros((12, 12), np.float16), np.zeros((12, 12), np.float16)),
        (np.zeros((12, 12), np.float32), np.zeros((12, 12), np.float64)),
        (np.full((12, 12), math.nan, np.float32), np.zeros((12, 12), np.float32)),
        (np.zeros((12, 12), np.float32), np.full((12, 12), math.inf, np.float32)),
    ],
)
def test_what_cannot_be_compared_is_refused(metric, restored, reference):
    with pytest.raises(ValueError, match=r"restored|reference"):
        metric(restored, reference, FULL_RANGE)


def test_measure_takes_one_image_and_ssim_a_whole_window():
    with pytest.raises(ValueError, match=r"must be \(H, W\)"):
        measure(*pair((2, 16, 16)), SOFT_TISSUE)
    with pytest.raises(ValueError, match="at least 11 pixels a side"):
        ssim(*pair((10, 40)), SOFT_TISSUE)
    small = MetricContract("small", -160, 240, "HU", ssim_taps=3)
    assert 0 < ssim(*pair((3, 5)), small) < 1


@pytest.mark.parametrize(
    "changes",
    [{"low": 1}, {"high": math.inf}, {"low": math.nan}, {"ssim_taps": 10}, {"ssim_taps": -1}, {"ssim_sigma": 0}],
)
def test_contracts_without_meaning_are_refused(changes):
    with pytest.raises(ValueError, match="contract 'bad'"):
        MetricContract(**{"name": "bad", "low": 0, "high": 1, "unit": "relative", **changes})


def test_gaussian_window_by_hand():
    window = gaussian_window(3, 1.0)
    edge = math.exp(-0.5)
    assert window == pytest.approx([edge / (1 + 2 * edge), 1 / (1 + 2 * edge), edge / (1 + 2 * edge)])


def test_inputs_are_not_changed():
    restored, reference = pair(low=-2000, high=4000)
    copies = restored.copy(), reference.copy()
    measure(restored, reference, SOFT_TISSUE)
    tissue_bias(restored, reference)
    assert np.array_equal(restored, copies[0])
    assert np.array_equal(reference, copies[1])


def test_tissue_bias_by_hand():
    levels = {"air": -1000, "lung": -800, "fat": -100, "soft tissue": 50, "bone": 800}
    biases = {"air": 1.0, "lung": 2.0, "fat": 3.0, "soft tissue": -4.0, "bone": 5.0}
    for name, level in levels.items():
        reference = np.full((2, 24, 20), level, np.float32)
        result = tissue_bias(reference + np.float32(biases[name]), reference)
        assert result[name] == (biases[name], 2 * 24 * 20)
        assert all(count == 0 for other, (_, count) in result.items() if other != name)


def test_tissue_masks_leave_borders_out():
    reference = np.full((40, 60), -100, np.float32)
    reference[:, 30:] = 50
    masks = tissue_masks(reference)
    assert masks["fat"][:, :22].all()
    assert masks["soft tissue"][:, 38:].all()
    assert not masks["fat"][:, 28:].any()
    assert not masks["soft tissue"][:, :32].any()


def test_noise_of_the_reference_is_no_bias():
    """The truth itself, against a reference of 30 HU noise: classes chosen pixel by pixel would show several HU."""
    rng = np.random.default_rng(3)
    truth = np.full((200, 200), -60, np.float32)
    truth[:, 100:] = 20
    reference = truth + rng.normal(0, 30, truth.shape).astype(np.float32)
    naive = (truth - reference)[(reference >= 0) & (reference < 100)].mean()
    assert naive < -5
    bias, count = tissue_bias(truth, reference)["soft tissue"]
    assert count > 10_000
    assert abs(bias) < 1


def test_tissue_bias_of_an_absent_class_is_nan():
    result = tissue_bias(np.ones((2, 3), np.float32), np.zeros((2, 3), np.float32))
    assert set(result) == set(TISSUES)
    assert result["soft tissue"] == (1.0, 6)
    assert math.isnan(result["bone"][0])
    assert result["bone"][1] == 0

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import signal

from training.errors import UnusableFeatures
from training.losses.perceptual import feature_distance
from training.networks.features import (
    CALIBRATION_NOISE,
    VGG_LAYERS,
    FeatureNetwork,
    FeatureSource,
    Layer,
    View,
    look,
    parse_features,
    read_features,
)

SHARED = Path(os.environ.get("CLEARSLICE_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))
WEIGHTS = SHARED / "weights" / "vgg16_imagenet_blocks1-3.npz"
WIDTHS = {"block1": 64, "block2": 128, "block3": 256}


def _convolved(x, kernel, bias):
    """ReLU of a zero-padded convolution of (H, W, C), by scipy in double precision."""
    maps = [
        sum(signal.correlate2d(x[..., c], kernel[..., c, k].astype(float), mode="same") for c in range(x.shape[-1]))
        for k in range(kernel.shape[-1])
    ]
    return np.maximum(np.stack(maps, axis=-1) + bias, 0)


def _halved(x):
    """Maxima of 2 x 2 pixels, (H, W, C) of even sides."""
    height, width, channels = x.shape
    return x.reshape(height // 2, 2, width // 2, 2, channels).max(axis=(1, 3))


def _vgg_arrays(rng, last="block2_conv2"):
    channels, arrays = 3, {}
    for layer in VGG_LAYERS[: VGG_LAYERS.index(last) + 1]:
        width = WIDTHS[layer[:6]]
        arrays[f"{layer}/kernel"] = rng.normal(0, 0.05, (3, 3, channels, width)).astype(np.float32)
        arrays[f"{layer}/bias"] = rng.normal(0, 0.1, width).astype(np.float32)
        channels = width
    return arrays


@pytest.fixture(scope="module")
def vgg(tmp_path_factory):
    """A file of random weights in the shape of VGG16."""
    file = tmp_path_factory.mktemp("vgg") / "weights.npz"
    np.savez(file, allow_pickle=False, **_vgg_arrays(np.random.default_rng(0)))
    return file


def test_views_clip_and_scale():
    image = np.array([-2, -0.16, 0.04, 0.24, 3], np.float32).reshape(1, 5, 1, 1)
    seen = np.asarray(look(image, [View(-0.16, 0.24), View(-0.16, 0.24, scale=255, shift=100)]))
    np.testing.assert_allclose(seen[0, :, 0, 0], [0, 0, 0.5, 1, 1], atol=1e-6)
    np.testing.assert_allclose(seen[0, :, 0, 1], [-100, -100, 27.5, 155, 155], atol=1e-4)


def test_a_network_by_hand():
    """Kernels that take the centre pixel, twice and negated: maps 2 x + 1 and max(0, -x), then the maxima of 2 x 2."""
    kernel = np.zeros((3, 3, 1, 2), np.float32)
    kernel[1, 1, 0] = 2, -1
    second = np.zeros((3, 3, 2, 1), np.float32)
    second[1, 1, :, 0] = 1, 10
    layers = (
        Layer(kernel, np.array([1, 0], np.float32), gain=0.5),
        Layer(second, np.zeros(1, np.float32), pool=True, gain=1.0),
    )
    image = np.array([[1, 0.5], [-0.25, 0]], np.float32)[None, ..., None]
    first, coarse = (np.asarray(each) for each in FeatureNetwork((View(0, 1),), layers)(image))
    np.testing.assert_allclose(first[0, ..., 0], [[1.5, 1.0], [0.5, 0.5]])  # -0.25 is clipped to 0
    np.testing.assert_array_equal(first[0, ..., 1], 0)
    np.testing.assert_allclose(coarse, [[[[3.0]]]])


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 1, 7, 1), (1, 33, 5, 1)])
def test_any_size_has_features(vgg, tiny_encoder, shape):
    for file in (vgg, tiny_encoder):
        for each in read_features(file, "HU")(np.zeros(shape, np.float32)):
            assert each.shape[0] == shape[0]
            assert np.isfinite(np.asarray(each)).all()
            assert min(each.shape) > 0


def test_noise_costs_what_it_costs_under_l2_whatever_the_network(vgg, tiny_encoder):
    """So a weight means the same; on other images and other noise of that size, to a third."""
    rng = np.random.default_rng(5)
    image = np.full((2, 64, 64, 1), 0.05, np.float32) + rng.normal(0, 0.02, (2, 64, 64, 1)).astype(np.float32)
    noisy = image + rng.normal(0, CALIBRATION_NOISE, image.shape).astype(np.float32)
    for file in (vgg, tiny_encoder):
        network = read_features(file, "HU")
        assert np.mean(feature_distance(image, noisy, features=network)) == pytest.approx(1e-4, rel=0.9)
    strong = np.load(tiny_encoder)
    arrays = {name: strong[name] for name in strong.files}
    arrays["stage1/kernel"] = 100 * arrays["stage1/kernel"]  # and the distance stays
    arrays["stage1/bias"] = 100 * arrays["stage1/bias"]
    scaled = tiny_encoder.with_name("scaled.npz")
    np.savez(scaled, allow_pickle=False, **arrays)
    distances = [feature_distance(image, noisy, features=read_features(file, "HU")) for file in (tiny_encoder, scaled)]
    np.testing.assert_allclose(*(np.asarray(each) for each in distances), rtol=1e-4)


def test_vgg_by_scipy(vgg):
    """Block 1, the maxima and block 2 of one image, by convolutions of scipy in double precision."""
    arrays = np.load(vgg)
    image = np.random.default_rng(1).uniform(-0.2, 0.3, (8, 6)).astype(np.float32)
    network = read_features(vgg, "HU")
    gain = network.layers[-1].gain
    (ours,) = network(image[None, ..., None])
    np.testing.assert_allclose(
        np.asarray(ours)[0] / gain, _by_scipy(arrays, image, "block2_conv2"), rtol=1e-3, atol=1e-2
    )
    (gray,) = read_features(vgg, "relative")(np.clip((image + 0.16) / 0.4, 0, 1)[None, ..., None])
    other = read_features(vgg, "relative").layers[-1].gain
    np.testing.assert_allclose(np.asarray(gray) / other, np.asarray(ours) / gain, rtol=1e-3, atol=1e-2)


def _by_scipy(arrays, image, last):
    shown = 255 * (np.clip(image.astype(float), -0.16, 0.24) + 0.16) / 0.4
    x = np.stack([shown - mean for mean in (103.939, 116.779, 123.68)], axis=-1)
    for layer in VGG_LAYERS[: VGG_LAYERS.index(last) + 1]:
        if layer.endswith("conv1") and layer != "block1_conv1":
            x = _halved(x)
        x = _convolved(x, arrays[f"{layer}/kernel"], arrays[f"{layer}/bias"])
    return x


@pytest.mark.shared_data
@pytest.mark.skipif(not WEIGHTS.exists(), reason=f"no VGG16 weights in {SHARED}")
def test_the_weights_of_vgg16_by_scipy():
    arrays = np.load(WEIGHTS)
    rng = np.random.default_rng(2)
    reference = rng.uniform(-0.1, 0.2, (8, 8)).astype(np.float32)
    restored = (reference + rng.normal(0, 0.01, (8, 8))).astype(np.float32)
    for layer in ("block1_conv2", "block2_conv2"):
        network = read_features(WEIGHTS, "HU", layer)
        a, b = (_by_scipy(arrays, image, layer) for image in (reference, restored))
        expected = network.layers[-1].gain ** 2 * np.mean((a - b) ** 2)
        ours = feature_distance(reference[None, ..., None], restored[None, ..., None], features=network)
        assert float(ours[0]) == pytest.approx(expected, rel=1e-3)


def test_names_of_features(vgg):
    assert parse_features("encoder") == FeatureSource()
    plain = parse_features(str(vgg))
    assert (plain.network, plain.file, plain.layer, len(plain.sha256)) == ("file", str(vgg), "", 64)
    assert parse_features(f"{vgg}:block2_conv1") == replace(plain, layer="block2_conv1")
    with pytest.raises(UnusableFeatures, match="'vgg19' is no file; give `encoder`, or the path"):
        parse_features("vgg19")
    with pytest.raises(UnusableFeatures, match="is no file"):
        parse_features(f"{vgg}:block9_conv1")


def test_files_that_hold_no_features_are_refused(tmp_path, vgg, tiny_encoder):
    text = tmp_path / "text.npz"
    text.write_text("no archive")
    pickled = tmp_path / "array.npy"
    np.save(pickled, np.zeros(3))
    for file in (text, pickled):
        with pytest.raises(UnusableFeatures, match=r"is no \.npz of arrays"):
            read_features(file, "HU")
    with pytest.raises(UnusableFeatures, match="there is no file"):
        read_features(tmp_path / "missing.npz", "HU")
    with pytest.raises(UnusableFeatures, match=r"no array 'block3_conv1/kernel'.*block1_conv1/bias"):
        read_features(vgg, "HU", "block3_conv1")
    with pytest.raises(UnusableFeatures, match="no layer 'block4_conv1' to take features of; there is: block1_conv1"):
        read_features(vgg, "HU", "block4_conv1")
    with pytest.raises(UnusableFeatures, match="leave out the layer"):
        read_features(tiny_encoder, "HU", "block1_conv1")
    with pytest.raises(UnusableFeatures, match="of another unit than relative"):
        read_features(tiny_encoder, "relative")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda array: np.moveaxis(array, -1, 0), r"expected \(3, 3, 3, 64\)"),
        (lambda array: array * np.nan, "not finite"),
        (lambda array: array * 0, "its weights are dead"),
    ],
)
def test_weights_that_cannot_be_are_refused(tmp_path, change, says):
    arrays = _vgg_arrays(np.random.default_rng(0), "block1_conv1")
    file = tmp_path / "weights.npz"
    np.savez(file, allow_pickle=False, **{**arrays, "block1_conv1/kernel": change(arrays["block1_conv1/kernel"])})
    with pytest.raises(UnusableFeatures, match=says):
        read_features(file, "HU", "block1_conv1")

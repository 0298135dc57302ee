"""The comparison of networks: what it counts, and that it runs from end to end on tiny ones."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

from bench import designs, networks
from training.networks.unet import UNetConfig


@pytest.mark.parametrize("name", [*designs.DESIGNS, designs.RED_CNN])
def test_every_network_gives_an_image_of_the_same_size_and_starts_as_it_should(name):
    builders = {**designs.DESIGNS, designs.RED_CNN: designs.red_cnn}
    image = np.random.default_rng(0).normal(0, 100, (1, 48, 61, 1)).astype(np.float32)
    restored = builders[name](dtype="float32").predict_on_batch(image)
    assert restored.shape == image.shape
    if name != designs.RED_CNN:
        np.testing.assert_array_equal(restored, image)  # an untrained residual network is the identity


def test_the_shipped_one_is_the_default():
    config = UNetConfig()
    assert designs.SHIPPED.startswith(f"{', '.join(map(str, config.widths))}, {config.fine} at full resolution")
    assert designs.DESIGNS[designs.SHIPPED](dtype="float32").count_params() < 900_000


def test_red_cnn_has_the_published_size_and_fifty_times_the_work():
    red_cnn = designs.red_cnn()
    # 5 x 5 x (1 x 96 + 96 x 96 x 8 + 96 x 1) weights and 96 x 9 + 1 biases
    assert red_cnn.count_params() == 25 * (96 + 8 * 96 * 96 + 96) + 9 * 96 + 1
    assert networks.gmacs(red_cnn) > 50 * networks.gmacs(designs.DESIGNS[designs.SHIPPED](dtype="float32"))


def test_multiplications_are_counted_where_they_happen():
    image = keras.Input((None, None, 1))
    x = keras.layers.Conv2D(8, 4, strides=2, padding="same")(image)  # 16 x 8 at 256 x 256
    x = keras.layers.DepthwiseConv2D(5, padding="same")(x)  # 25 x 8 at 256 x 256
    x = keras.layers.Conv2DTranspose(2, 2, strides=2)(x)  # 4 x 8 x 2 for each of 256 x 256
    expected = 256 * 256 * (16 * 8 + 25 * 8 + 4 * 8 * 2)
    assert networks.gmacs(keras.Model(image, x)) == pytest.approx(expected / 1e9)


def test_a_reparameterised_convolution_is_the_sum_of_its_parts():
    layer = designs.Reparameterised(3, 3, padding="same")
    image = np.random.default_rng(0).normal(0, 1, (1, 9, 9, 3)).astype(np.float32)
    plain = np.asarray(layer(image))
    layer.through.assign([1.0, 1.0, 1.0])
    np.testing.assert_allclose(np.asarray(layer(image)), plain + image, atol=1e-5)
    layer.through.assign([0.0, 0.0, 0.0])
    layer.point.assign(np.full((1, 1, 3, 3), 0.5, np.float32))
    np.testing.assert_allclose(np.asarray(layer(image)), plain + 0.5 * image.sum(axis=-1, keepdims=True), atol=1e-5)


def test_it_runs_and_does_nothing_twice(prepared_for_bench, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(networks, "SIDE", 64)
    monkeypatch.setattr(networks, "ROUNDS", 1)
    monkeypatch.setattr(networks, "STUDY", tmp_path / "networks.md")
    tiny = {name: designs.DESIGNS[name] for name in (designs.SHIPPED, "24, 40, 56, 72")}
    monkeypatch.setattr(networks, "DESIGNS", tiny)
    monkeypatch.setattr(networks, "series_of_role", lambda *_, **__: prepared_for_bench)
    (tmp_path / "networks.md").write_text("# Networks\n\nWords.\n\n<!-- table -->\nold\n")
    arguments = ["--data", str(tmp_path), "--cache", str(tmp_path / "cache"), "--steps", "10", "--write"]
    networks.main(arguments)
    state = tmp_path / "networks-10.json"
    assert set(json.loads(state.read_text())) == set(tiny)
    before = state.stat().st_mtime_ns
    networks.main(arguments)
    assert state.stat().st_mtime_ns == before
    report = (tmp_path / "networks.md").read_text()
    assert report.startswith("# Networks\n\nWords.\n\n<!-- table -->\n")
    assert "old" not in report
    assert report.count("| RED-CNN as published |") == 1
    assert "after 10 steps" in report
    assert capsys.readouterr().out.count("| quarter dose, dB |") == 2

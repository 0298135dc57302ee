from __future__ import annotations

import json
import tomllib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.degradations import DEGRADATIONS, DoseRange, parse_degradation
from training.errors import InvalidSettings, UnknownDegradation, UnknownSetting
from training.fit import FitSettings
from training.networks.unet import UNetConfig
from training.recipes import RECIPES
from training.settings_file import read_settings, render_settings, settings_from

WHOLE = """
epochs = 3
steps = 5
batch = 2
patch = 32
learning_rate = 2e-3
precision = "float32"
seed = 7

[loss]
delta = 0.02

[network]
widths = [4, 6]
blocks = 1

[noise]
low = 0.1
"""


def _write(folder, text, name="my.toml"):
    file = folder / name
    file.write_text(text)
    return file


def test_every_field_is_read(tmp_path):
    settings = settings_from("ct-huber", read_settings(_write(tmp_path, WHOLE), "ct-huber"))
    assert settings == FitSettings(
        "ct-huber", 3, 5, 2, 32, 2e-3, "float32", 7, UNetConfig((4, 6), 1), DoseRange(low=0.1), {"delta": 0.02}
    )


def test_what_the_file_leaves_out_has_its_default(tmp_path):
    table = read_settings(_write(tmp_path, "[network]\nblocks = 3\n"), "ct-l2")
    assert settings_from("ct-l2", table) == FitSettings("ct-l2", network=UNetConfig(blocks=3))


def test_a_degradation_is_named_with_its_numbers(tmp_path):
    table = read_settings(_write(tmp_path, '[noise]\nname = "gaussian"\nsigma = 30\n'), "ct-l1")
    assert settings_from("ct-l1", table).noise == parse_degradation("gaussian", "ct", {"sigma": 30.0})
    with pytest.raises(UnknownDegradation, match="low-dose"):
        settings_from("relative-l1", {"noise": {"name": "low-dose"}})


@given(
    model=st.sampled_from([f"ct-{name}" for name in RECIPES] + ["relative-huber", "relative-l2"]),
    epochs=st.integers(1, 99),
    rate=st.floats(1e-9, 1.0),
    widths=st.lists(st.integers(1, 300), min_size=1, max_size=5),
    data=st.data(),
)
def test_what_is_written_gives_the_same_settings_again(model, epochs, rate, widths, data):
    settings = FitSettings(model, epochs=epochs, learning_rate=rate, network=UNetConfig(tuple(widths), 2))
    numbers = {name: data.draw(st.floats(-1e9, 1e9)) for name in settings.loss}
    domain = model.partition("-")[0]
    noise = data.draw(st.sampled_from([settings.noise, *DEGRADATIONS[domain].values()]))
    settings = replace(settings, loss=numbers, noise=noise)
    table = tomllib.loads(render_settings(settings))
    assert table.pop("model") == model
    assert settings_from(model, table) == settings


def test_a_run_is_a_settings_file_too(tmp_path):
    settings = FitSettings("relative-l1-ssim", seed=4, loss={"ssim_weight": 0.5})
    file = _write(tmp_path, json.dumps(settings.to_json()), "settings.json")
    assert settings_from("relative-l1-ssim", read_settings(file, "relative-l1-ssim")) == settings


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("epoch = 3", r"my\.toml has no 'epoch'; did you mean 'epochs'\?"),
        ("zzz = 3", r"no 'zzz'; there is: model, epochs"),
        ('model = "ct-l1"', "settings of ct-l1, not of ct-huber"),
        ("epochs = = 3", "holds no settings"),
    ],
)
def test_what_a_file_cannot_say_is_refused(tmp_path, text, says):
    with pytest.raises(InvalidSettings, match=says):
        read_settings(_write(tmp_path, text), "ct-huber")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InvalidSettings, match="holds no settings"):
        read_settings(tmp_path / "none.toml", "ct-huber")


@pytest.mark.parametrize(
    ("table", "error", "says"),
    [
        ({"epochs": 0}, InvalidSettings, "epochs must be a whole number from 1, not 0"),
        ({"epochs": True}, InvalidSettings, "whole number"),
        ({"patch": 8}, InvalidSettings, "patch must be a whole number from 16"),
        ({"learning_rate": 0}, InvalidSettings, "above 0"),
        ({"learning_rate": "fast"}, InvalidSettings, "must be a number, not 'fast'"),
        ({"precision": "float16"}, InvalidSettings, "mixed_bfloat16 or float32"),
        ({"loss": 3}, InvalidSettings, r"must be a table, \[loss\]"),
        ({"loss": {"delta": "big"}}, InvalidSettings, r"loss\.delta must be a number"),
        ({"loss": {"dleta": 0.1}}, UnknownSetting, "its settings: delta"),
        ({"network": {"width": [4]}}, InvalidSettings, "did you mean 'widths'"),
        ({"network": {"widths": []}}, InvalidSettings, "must be a list"),
        ({"noise": {"lwo": 0.1}}, InvalidSettings, "did you mean 'low'"),
        ({"noise": {"name": "gaussian", "sgima": 3}}, UnknownSetting, "sigma"),
    ],
)
def test_values_are_checked(table, error, says):
    with pytest.raises(error, match=says):
        settings_from("ct-huber", table)

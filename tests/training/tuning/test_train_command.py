from __future__ import annotations

import shlex

from training.degradations import parse_degradation
from training.fit import FitSettings
from training.tuning.train_command import train_command


def test_only_what_differs_is_said():
    assert train_command(FitSettings("ct-l2")) == "clearslice train ct-l2 --learning-rate 0.001"
    settings = FitSettings("ct-l1-ssim", learning_rate=0.00123456, loss={"ssim_weight": 0.0123456})
    assert train_command(settings) == "clearslice train ct-l1-ssim --set ssim_weight=0.01235 --learning-rate 0.001235"


def test_a_degradation_comes_with_its_numbers():
    settings = FitSettings("ct-l1", noise=parse_degradation("gaussian", "ct", {"sigma": 30}))
    assert shlex.split(train_command(settings))[-4:] == ["--degradation", "gaussian", "--degrade", "sigma=30"]
    assert "--degrade " not in train_command(FitSettings("relative-l1"))

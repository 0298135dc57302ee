"""The line of `clearslice train` that trains with given settings."""

from __future__ import annotations

import shlex

from training.degradations import DEGRADATIONS, Degradation
from training.fit import FitSettings
from training.recipes import parse_model_name

DIGITS = 4
"""Of numbers that a search chose: far finer than it can tell."""


def train_command(settings: FitSettings) -> str:
    """`clearslice train ct-huber --set delta=0.0123 --learning-rate 0.002`: what differs from the recipe's own.

    Epochs, steps and the like are left out: a search has a short budget, and what it found is for a longer one.
    """
    domain, recipe = parse_model_name(settings.model)
    words = ["clearslice", "train", settings.model]
    for name, value in settings.loss.items():
        if value != recipe.settings[name]:
            words += ["--set", f"{name}={value:.{DIGITS}g}"]
    words += ["--learning-rate", f"{settings.learning_rate:.{DIGITS}g}"]
    if isinstance(settings.noise, Degradation):
        words += ["--degradation", settings.noise.name]
        own = DEGRADATIONS[domain][settings.noise.name].settings
        for name, value in settings.noise.settings.items():
            if value != own[name]:
                words += ["--degrade", f"{name}={value:g}"]
    return shlex.join(words)

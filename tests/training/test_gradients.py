from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from training.gradients import gradient_shares
from training.recipes import RECIPES

RNG = np.random.default_rng(0)
REFERENCE = RNG.normal(0.05, 0.05, (2, 24, 24, 1)).astype(np.float32)
RESTORED = (REFERENCE + RNG.normal(0, 0.02, REFERENCE.shape)).astype(np.float32)


def test_a_recipe_of_one_term_is_all_of_the_gradient():
    assert gradient_shares(RECIPES["l2"], REFERENCE, RESTORED) == {"l2": 1.0}


def test_the_weights_do_not_tell_the_shares():
    """0.8 L1 and 0.2 SSIM: at 20 HU of noise SSIM has three quarters of the gradient, at 5 HU less than half."""
    classic = RECIPES["l1-ssim"].with_settings({"ssim_weight": 0.2})
    noisy = gradient_shares(classic, REFERENCE, RESTORED)
    better = gradient_shares(classic, REFERENCE, REFERENCE + (RESTORED - REFERENCE) / 4)
    assert sum(noisy.values()) == pytest.approx(1)
    assert noisy["ssim"] > 0.7
    assert better["ssim"] < 0.5


def test_l1_by_hand_against_an_l2_of_the_same_pull():
    """d mean abs(e) / de = sign / n and d mean e^2 / de = 2 e / n: at abs(e) = 0.5 everywhere both pull alike."""

    def terms(reference, restored, *, weight):
        difference = restored - reference
        flat = (1, 2, 3)
        import keras  # noqa: PLC0415

        return {
            "l1": weight * keras.ops.mean(keras.ops.abs(difference), axis=flat),
            "l2": keras.ops.mean(keras.ops.square(difference), axis=flat),
        }

    recipe = dataclasses.replace(RECIPES["l2"], terms=terms, settings={"weight": 3.0})
    signs = RNG.choice([-0.5, 0.5], REFERENCE.shape).astype(np.float32)
    assert gradient_shares(recipe, REFERENCE, REFERENCE + signs) == pytest.approx({"l1": 0.75, "l2": 0.25}, rel=1e-5)


def test_jax_finds_the_same_shares(on_jax, tmp_path):
    np.savez(tmp_path / "images.npz", reference=REFERENCE, restored=RESTORED)
    code = (
        "import json, numpy as np; from training.gradients import gradient_shares;"
        "from training.recipes import RECIPES;"
        f"a = np.load({str(tmp_path / 'images.npz')!r});"
        "print(json.dumps(gradient_shares(RECIPES['l1-ssim'], a['reference'], a['restored'])))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=on_jax, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == pytest.approx(gradient_shares(RECIPES["l1-ssim"], REFERENCE, RESTORED), rel=1e-4)

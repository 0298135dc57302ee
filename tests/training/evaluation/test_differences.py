from __future__ import annotations

import math
from dataclasses import replace

from imaging.metrics import SOFT_TISSUE
from training.evaluation.differences import MINIMUM_PATIENTS, render_differences
from training.evaluation.evaluate import DEGRADED, ImageScore


def _scores(patients):
    """Patients differ by 10 dB, the method gains 1 dB on each."""
    return [
        ImageScore(method, "noise", "s", f"p{number}", {("psnr", key): value, ("ssim", key): 0.5})
        for key in [SOFT_TISSUE.name]
        for number in range(patients)
        for method, value in ((DEGRADED, 20.0 + 10 * number), ("ours", 21.0 + 10 * number))
    ]


def test_differences_are_paired():
    table = render_differences(_scores(MINIMUM_PATIENTS), "ours")
    assert "| noise | degraded | +1.00 [+1.00, +1.00] | +0.0000 [+0.0000, +0.0000] |" in table
    assert table.count("| noise |") == 1


def test_few_patients_get_no_interval():
    assert "| noise | degraded | +1.00 | +0.0000 |" in render_differences(_scores(MINIMUM_PATIENTS - 1), "ours")


def test_a_perfect_image_has_no_difference_in_psnr():
    perfect = [
        replace(score, values={**score.values, ("psnr", SOFT_TISSUE.name): math.inf})
        if score.method == DEGRADED
        else score
        for score in _scores(MINIMUM_PATIENTS)
    ]
    assert "| noise | degraded |  | +0.0000 [+0.0000, +0.0000] |" in render_differences(perfect, "ours")

from __future__ import annotations

import gc

from training.fit import FitSettings, fit
from training.memory import forget_models
from training.networks.unet import UNetConfig

TINY = FitSettings(model="ct-l1-ssim", epochs=1, steps=1, batch=2, patch=32, network=UNetConfig((4, 6), 1))


def _graphs():
    gc.collect()
    return sum(type(each).__name__ in {"FuncGraph", "AtomicFunction"} for each in gc.get_objects())


def test_models_leave_no_graphs_behind(prepared, tmp_path):
    forget_models()
    before = _graphs()
    for number in range(2):
        fit(TINY, [prepared("a", 1)], [], tmp_path / str(number))
        assert _graphs() > before
        forget_models()
        assert _graphs() <= before

"""From settings to a loader: where a version goes, in which precision, and what is known of it from before.

version --placed--> devices --load_restorer, on each--> Restorers, all in one precision
          RefusedVersion        RefusedVersion
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from model_store.errors import RefusedVersion
from model_store.restorer import Precision, Restorer, available_devices, import_tensorflow, load_restorer
from model_store.store import ModelVersion
from service.memory import staying
from service.models import Load
from service.settings import Settings, environment_name


def load_by(settings: Settings, *, most: int | None = None) -> Load:
    """The loader that the settings describe: precision, devices, and which version goes where.

    Args:
        settings: of the app.
        most: how many devices are used at most; None for all.
    """

    timed: dict[tuple[str, str], dict[str, float]] = {}

    def load(version: ModelVersion) -> list[Restorer]:
        if settings.device == "cpu":
            # Read by TensorFlow when it first looks for devices.
            os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
        with staying():
            import_tensorflow()
        first, *others = _placed(version.name, settings, available_devices())[:most]
        what = (version.weights_sha256, first)
        restorer = load_restorer(version, precision=settings.precision, device=first, timings=timed.get(what))
        timed[what] = restorer.timings  # a reload beside requests costs them less

        def all_in(precision: Precision) -> list[Restorer]:
            """One precision for all: an answer must not depend on which device was free."""
            return [load_restorer(version, precision=precision, device=device) for device in others]

        try:
            return [restorer, *all_in(restorer.precision)]
        except RefusedVersion:
            if settings.precision != "auto" or restorer.precision == "float32":
                raise
            # in what is faster on the first it is wrong on another
            return [load_restorer(version, precision="float32", device=first), *all_in("float32")]

    return load


def _placed(name: str, settings: Settings, available: Sequence[str]) -> Sequence[str]:
    """Where a model goes: where the settings say, and else on every GPU, or where there is none on the CPU.

    Raises:
        RefusedVersion: they name a device that is not there.
    """
    wanted = [device for model, device in settings.placement if model == name]
    missing = [device for device in wanted if device not in available]
    if missing:
        raise RefusedVersion(
            f"{environment_name('placement')} puts {name} on {', '.join(missing)}, and this machine has"
            f" {', '.join(available)}"
        )
    return wanted or [device for device in available if device.startswith("GPU")] or available

"""Shadow: another version sees what a model is given, and how far its answers are from those that are sent is counted.

    answer made --(the shadow's model? nothing waits? one at a time)--> its first image --shadow--> RMS difference, log

A shadow never answers, takes one run of the device for what was answered, and is left out when others wait for that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import numpy as np
import structlog

from imaging.frames import Frames
from model_store.errors import ModelStoreError
from model_store.refs import parse_ref
from model_store.store import ModelStore, ModelVersion
from service.batching import Batch
from service.codecs import Codecs
from service.errors import ServiceError
from service.executor import Executor
from service.restoring import Restoring
from service.telemetry import Instruments, log_defect

SHADOW_SECONDS = 300.0
"""For one comparison, loading the shadow included."""

RESTORED = ("restored",)


class Shadow:
    """The version of `CLEARSLICE_SHADOW` beside the others of its model; used in the event loop only.

    Args:
        ref: of the shadow.
        store: to look it up in.
        restoring, executor, codecs: of the app.
        instruments: where differences are counted.
    """

    def __init__(
        self,
        ref: str,
        *,
        store: ModelStore,
        restoring: Restoring,
        executor: Executor,
        codecs: Codecs,
        instruments: Instruments,
    ) -> None:
        self._ref = ref
        self._name = parse_ref(ref).name
        self._store = store
        self._restoring = restoring
        self._executor = executor
        self._codecs = codecs
        self._instruments = instruments
        self._comparing: asyncio.Task[None] | None = None

    def see(self, version: ModelVersion, frames: Frames, answers: Sequence[Batch]) -> None:
        """Compares with what `version` answered, (1, H, W, C) with `restored` first, unless there is other work."""
        busy = self._comparing is not None and not self._comparing.done()
        if version.name == self._name and not busy and not self._executor.waiting():
            self._comparing = asyncio.create_task(self._compare(version, frames, answers))

    async def _compare(self, version: ModelVersion, frames: Frames, answers: Sequence[Batch]) -> None:
        deadline = time.monotonic() + SHADOW_SECONDS
        log = structlog.get_logger("clearslice").bind(model=version.ref, shadow=self._ref)
        try:
            shadow = await self._codecs.run(deadline, self._store.resolve, self._ref)
            if shadow.ref == version.ref or shadow.manifest.unit != version.manifest.unit:
                return
            first = Frames((frames.first,))
            ran = await self._restoring.restore(shadow, first, RESTORED, deadline=deadline, admitted=False)
            rms = await self._codecs.run(deadline, _rms, ran.batches[0], answers[0])
        except (ModelStoreError, ServiceError) as error:
            log.warning("shadow_failed", reason=str(error))
        except Exception as error:  # noqa: BLE001 - a task nobody awaits
            log_defect(error)
        else:
            self._instruments.shadow_difference.labels(version.ref, shadow.ref).observe(rms)
            log.info("shadow", rms=round(rms, 4), unit=frames.unit, seconds=round(ran.infer_seconds, 4))


def _rms(theirs: Batch, ours: Batch) -> float:
    return float(np.sqrt(np.mean((theirs[..., 0] - ours[..., 0]) ** 2, dtype=np.float64)))

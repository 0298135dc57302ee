"""Several devices: which of them does what, by TensorFlow's own account."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pydantic import ValidationError

from model_store.errors import RefusedVersion
from service.device_work import Alike, Work
from service.executor import Executor
from service.loading import _placed, load_by
from service.settings import Settings
from service.telemetry import Instruments

BATCH = np.zeros((1, 2, 3, 1), np.float32)


@pytest.fixture(scope="module")
def found():
    """What the service does with two logical devices (no GPU is needed for that)."""
    program = Path(__file__).with_name("two_devices.py")
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_model_is_on_all_devices_and_each_gives_the_same_answer(found):
    assert found["available"] == ["CPU:0", "CPU:1"]
    anywhere = found["anywhere"]
    assert anywhere["statuses"] == [200]
    assert anywhere["devices"] == ["CPU:0", "CPU:1"]
    assert len(anywhere["precisions"]) == 1
    assert anywhere["answers"] == 1


def test_a_model_that_is_loaded_again_is_on_all_devices_again(found):
    assert (found["unload"], found["load"]) == (200, 200)
    assert found["again"] == found["anywhere"]


def test_a_model_that_is_placed_runs_there_alone(found):
    assert found["placed"]["statuses"] == [200]
    assert found["placed"]["devices"] == ["CPU:1"]


def test_models_and_figures_say_which_device(found):
    assert found["told"] == {"ct-l2": "CPU:0, CPU:1", "ct-huber": "CPU:1"}
    devices = [line.partition('device="')[2].partition('"')[0] for line in found["figures"]]
    assert sorted(devices) == ["CPU:0", "CPU:1", "CPU:1"]


def test_a_device_that_is_not_there_is_told(found):
    assert "puts ct-l2 on GPU:3, and this machine has CPU:0, CPU:1" in found["nowhere"]


@pytest.mark.parametrize("text", ["ct-l2", "ct-l2=", "=GPU:0", "ct-l2=TPU:0", "ct-l2=GPU", "ct-l2=GPU:0=1"])
def test_a_placement_that_is_none_is_refused(text):
    with pytest.raises(ValidationError, match="NAME=DEVICE"):
        Settings(placement=text)


def test_a_placement_is_read_as_it_is_written():
    assert Settings(placement=" ct-l2=gpu:0, ct-l2=GPU:1 ,").placement == (("ct-l2", "GPU:0"), ("ct-l2", "GPU:1"))


@pytest.mark.anyio
async def test_devices_that_are_free_share_what_comes_at_once():
    """One that took it all into its run would leave the others idle."""
    executor = Executor(max_queue=20, batch_pixels=8 * 16, instruments=Instruments())
    runs: dict[str, list[int]] = {"left": [], "right": []}

    def counted(device):
        def restore(batch):
            runs[device].append(len(batch))
            time.sleep(0.05)
            return batch

        return restore

    image, alike = np.zeros((1, 4, 4, 1), np.float32), Alike(("model",), (4, 4))
    both = {device: counted(device) for device in runs}
    for device in runs:  # so that both have their threads, and wait
        await executor.restore([Work({device: counted(device)}, image)], deadline=time.monotonic() + 20)
    while executor.running_seconds():  # noqa: ASYNC110 - answers leave just before a run ends
        await asyncio.sleep(0)
    await executor.restore([Work(both, image, alike=alike)] * 8, deadline=time.monotonic() + 20)
    assert sum(runs["left"]) + sum(runs["right"]) == 8 + 2
    assert max(runs["left"] + runs["right"]) <= 4
    assert min(map(sum, runs.values())) > 1
    executor.close()


@pytest.mark.anyio
async def test_a_device_passes_over_what_it_cannot_do():
    """A run on one device does not hold up what waits for another, nor the other way round."""
    executor = Executor(max_queue=8, batch_pixels=1, instruments=Instruments())
    entered, opened = threading.Event(), threading.Event()

    def slow(batch):
        entered.set()
        assert opened.wait(20)
        return batch

    async def run(**restore):
        (answer,) = await executor.restore([Work(restore, BATCH)], deadline=time.monotonic() + 20)
        return answer.device

    first = asyncio.ensure_future(run(left=slow))
    assert await asyncio.to_thread(entered.wait, 20)
    behind = asyncio.ensure_future(run(left=lambda batch: batch))
    assert await run(right=lambda batch: batch) == "right"
    assert await run(left=lambda batch: batch, right=lambda batch: batch) == "right"
    assert executor.running_seconds() > 0
    assert not behind.done()
    opened.set()
    assert [await first, await behind] == ["left", "left"]
    executor.close()


@pytest.mark.parametrize(
    ("available", "text", "expected"),
    [
        (("CPU:0",), "", ["CPU:0"]),
        (("GPU:0", "GPU:1", "CPU:0"), "", ["GPU:0", "GPU:1"]),
        (("GPU:0", "GPU:1", "CPU:0"), "ct-tiny=GPU:1", ["GPU:1"]),
        (("GPU:0", "CPU:0"), "ct-tiny=CPU:0", ["CPU:0"]),
        (("GPU:0", "CPU:0"), "ct-other=CPU:0", ["GPU:0"]),
    ],
)
def test_where_a_model_goes(available, text, expected):
    assert list(_placed("ct-tiny", Settings(placement=text), available)) == expected


@pytest.mark.parametrize(("wrong_on_second", "expected"), [(True, "float32"), (False, "bfloat16")])
def test_all_devices_compute_in_one_precision(monkeypatch, wrong_on_second, expected):
    """What is faster on the first counts, unless another device gets it wrong."""

    def load(_version, *, precision, device, timings=None):
        assert timings is None
        chosen = "bfloat16" if precision == "auto" else precision
        if wrong_on_second and (device, chosen) == ("GPU:1", "bfloat16"):
            raise RefusedVersion("deviates")
        return SimpleNamespace(device=device, precision=chosen, timings={})

    monkeypatch.setattr("service.loading.load_restorer", load)
    monkeypatch.setattr("service.loading.available_devices", lambda: ("GPU:0", "GPU:1", "CPU:0"))
    monkeypatch.setattr("service.loading.staying", contextlib.nullcontext)
    version = SimpleNamespace(name="ct-tiny", weights_sha256="0" * 64)
    found = load_by(Settings())(version)
    assert [(each.device, each.precision) for each in found] == [("GPU:0", expected), ("GPU:1", expected)]
    assert [each.device for each in load_by(Settings(), most=1)(version)] == ["GPU:0"]

"""How long a device takes: which runs are made, and which of them count."""

from __future__ import annotations

import numpy as np
import pytest

from model_store.timing import fastest, time_each

IMAGE = np.zeros((1, 512, 512, 1), np.float32)


class Device:
    """Takes for its runs what it is told, then as long as for the last of them, on a clock that only they move."""

    def __init__(self):
        self.now, self.runs = 0.0, []

    def candidate(self, name, *seconds):
        def run(image):
            assert image.shape == (1, 512, 512, 1)
            self.now += seconds[min(self.runs.count(name), len(seconds) - 1)]
            self.runs.append(name)

        return run

    def clock(self):
        return self.now


@pytest.mark.parametrize(("device", "first"), [("GPU:0", 9.0), ("CPU:0", 0.0625)])
def test_the_fastest_of_three_counts_and_of_a_gpu_not_the_first(device, first):
    made = Device()
    candidates = {"float32": made.candidate("float32", first, 0.0625, 0.03125, 0.0625)}
    candidates["bfloat16"] = made.candidate("bfloat16", 0.001)
    assert time_each(candidates, device, made.clock) == pytest.approx({"float32": 0.03125, "bfloat16": 0.001})
    extra = device.startswith("GPU")
    assert made.runs == ["float32"] * (3 + extra) + ["bfloat16"] * (3 + extra)


@pytest.mark.parametrize(("device", "runs", "seconds"), [("GPU:0", 2, 1.5), ("CPU:0", 1, 2.0)])
def test_who_takes_long_is_not_run_again(device, runs, seconds):
    made = Device()
    assert time_each({"float32": made.candidate("float32", 2.0, 1.5)}, device, made.clock) == {"float32": seconds}
    assert len(made.runs) == runs


def test_more_runs_are_made_of_what_is_fast_where_more_is_asked_for():
    made = Device()
    run = made.candidate("float32", 0.001)
    assert fastest(lambda: run(IMAGE), "CPU:0", runs=10, clock=made.clock) == pytest.approx(0.001)
    assert len(made.runs) == 10

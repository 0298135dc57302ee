"""Before a version serves: its runs are made once, and those that do not pay are not made again."""

from __future__ import annotations

import types

import numpy as np
import pytest

from model_store.errors import OutOfDeviceMemory
from service.warming import warm, warm_again

SHAPES = [(1, 8, 16), (2, 8, 16), (4, 8, 16), (8, 8, 16)]
IMAGE = 8 * 16


class Restorer:
    """Takes as long for a run as it is told, and `first` for the first of each shape, on a clock of its own."""

    def __init__(self, seconds, *, unit="HU", device="GPU:0", first=60.0):
        self.version = types.SimpleNamespace(ref="ct@1", manifest=types.SimpleNamespace(unit=unit))
        self.now = 0.0
        self.runs = []
        self.values = set()
        self.device = device
        self._seconds, self._first = seconds, first

    def __call__(self, batch):
        assert batch.dtype == np.float32
        found = self._seconds(len(batch))
        if found is None:
            raise OutOfDeviceMemory("too much")
        self.now += found if batch.shape in self.runs else self._first
        self.runs.append(batch.shape)
        self.values |= set(batch.flat)
        return batch

    def clock(self):
        return self.now


def warmed(seconds, shapes=SHAPES, **more):
    """What pays, and how often each number of images was run."""
    restorer = Restorer(seconds, **more)
    pays = warm(restorer, restorer.version, shapes, restorer.clock)
    return pays, {count: sum(shape[0] == count for shape in restorer.runs) for count in (1, 2, 4, 8)}


def test_where_more_take_hardly_longer_all_are_shared():
    assert warmed(lambda count: 1 + 0.01 * count) == (None, dict.fromkeys((1, 2, 4, 8), 2))


def test_where_each_takes_its_time_none_is_shared():
    assert warmed(lambda count: count) == (IMAGE, {1: 2, 2: 2, 4: 0, 8: 0})


def test_on_a_cpu_the_first_run_counts():
    """Unless the next is faster, and there is time for it."""
    one = {"device": "CPU:0", "first": 0.6}
    assert warmed(lambda count: 0.5 * count, **one) == (None, dict.fromkeys((1, 2, 4, 8), 1))
    assert warmed(lambda count: 0.1 * count, device="CPU:0", first=0.25)[0] == IMAGE


def test_as_many_share_as_pay():
    assert warmed(lambda count: 1 if count <= 2 else count) == (2 * IMAGE, {1: 2, 2: 2, 4: 2, 8: 0})


def test_a_fast_run_is_timed_ten_times_and_the_fastest_counts():
    assert warmed(lambda count: 0.001 * count)[1][1] == 11


def test_what_does_not_fit_the_device_is_not_shared():
    assert warmed(lambda count: 1 if count <= 2 else None) == (2 * IMAGE, {1: 2, 2: 2, 4: 0, 8: 0})


def test_a_device_that_has_not_the_memory_for_one_is_none():
    with pytest.raises(OutOfDeviceMemory):
        warmed(lambda _: None)


def test_other_sizes_are_run_as_far_as_they_pay():
    shapes = [(1, 8, 16), (2, 8, 16), (1, 4, 8), (2, 4, 8), (4, 4, 8), (8, 4, 8)]
    restorer = Restorer(lambda count: count if restorer_size(restorer) == IMAGE else 1)
    assert warm(restorer, restorer.version, shapes, restorer.clock) == IMAGE
    assert set(restorer.runs) == {(count, *size, 1) for count, *size in shapes} - {(8, 4, 8, 1)}


def restorer_size(restorer):
    """Pixels of one image of the last run."""
    return int(np.prod(restorer.runs[-1][1:3])) if restorer.runs else IMAGE


@pytest.mark.parametrize(("unit", "empty"), [("HU", -1000), ("relative", 0)])
def test_the_images_are_empty(unit, empty):
    restorer = Restorer(lambda _: 1, unit=unit)
    warm(restorer, restorer.version, SHAPES, restorer.clock)
    assert restorer.values == {empty}


def test_nothing_is_run_where_no_sizes_are_named():
    assert warmed(lambda _: 1, shapes=[]) == (None, dict.fromkeys((1, 2, 4, 8), 0))


def again(seconds, pay):
    """The shapes that are run, in order."""
    restorer = Restorer(seconds)
    warm_again(restorer, restorer.version, SHAPES, pay)
    return [count for count, *_ in restorer.runs]


def test_where_it_is_known_what_pays_that_runs_once():
    assert again(lambda count: count, 2 * IMAGE) == [1, 2]
    assert again(lambda count: count, None) == [1, 2, 4, 8]


def test_where_it_is_known_what_pays_there_may_be_less_memory_than_then():
    assert again(lambda count: 1 if count <= 2 else None, None) == [1, 2]
    with pytest.raises(OutOfDeviceMemory):
        again(lambda _: None, None)

"""How long a line is expected to take at least."""

from __future__ import annotations

import numpy as np
import pytest

from service.device_work import Alike, Work
from service.pace import Pace

BUCKET = (16, 16)


def work(side=16, *, ref="ct-l2@1", alike=None):
    return Work({}, np.zeros((1, side, side, 1), np.float32), ref=ref, alike=alike)


def expected(pace, *works, unknown=0.0):
    return pace.expected(works, lambda alike: 4 if alike.bucket == BUCKET else 1, unknown=unknown)


def test_of_what_never_ran_nothing_is_known():
    assert expected(Pace(), work(), work(32)) == 0
    assert expected(Pace(), work(), work(32), unknown=1.0) == 2


def test_each_kind_has_its_own():
    pace = Pace()
    pace.ran(work(), 0.1)
    pace.ran(work(64), 0.5)
    assert expected(pace, work(), work(64), work(), unknown=9.0) == pytest.approx(0.7)
    assert expected(pace, work(ref="other@1")) == 0


def test_images_that_share_a_run_are_counted_once():
    pace, alike, other = Pace(), Alike(("model",), BUCKET), Alike(("model", "sigma"), BUCKET)
    pace.ran(work(), 0.1)
    assert expected(pace, *[work(alike=alike)] * 4) == pytest.approx(0.1)
    assert expected(pace, *[work(alike=alike)] * 5, work(alike=other), work()) == pytest.approx(0.4)


def test_a_slow_run_counts_for_nothing_and_a_fast_one_is_forgotten_after_some():
    pace = Pace()
    for seconds in (9.0, 0.1, 1.0):
        pace.ran(work(), seconds)
    assert expected(pace, work()) == 0.1
    for _ in range(8):
        pace.ran(work(), 1.0)
    assert expected(pace, work()) == 1.0

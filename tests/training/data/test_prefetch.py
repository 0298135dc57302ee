from __future__ import annotations

import itertools
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.prefetch import prefetched


def _running():
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


@given(st.lists(st.integers(), max_size=20), st.integers(1, 5))
def test_the_items_are_the_same_in_the_same_order(items, ahead):
    with prefetched(iter(items), ahead) as ready:
        assert list(ready) == items
    assert not _running()


def test_no_more_than_asked_for_are_made_ahead():
    made, enough = [], threading.Event()

    def make():
        for number in range(100):
            made.append(number)
            if number == 3:
                enough.set()
            yield number

    with prefetched(make(), ahead=3) as ready:
        assert next(ready) == 0
        assert enough.wait(10)  # one is taken: three more may wait
        assert len(made) == 4
    assert not _running()
    assert len(made) <= 5


def test_an_error_comes_at_its_place_and_the_thread_ends():
    def make():
        yield 1
        raise ZeroDivisionError("in the thread")

    with prefetched(make()) as ready:
        assert next(ready) == 1
        with pytest.raises(ZeroDivisionError, match="in the thread"):
            next(ready)
    assert not _running()


def test_leaving_early_ends_the_thread():
    def use(ready):
        next(ready)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), prefetched(itertools.repeat(0)) as ready:
        use(ready)
    assert not _running()

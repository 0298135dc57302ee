"""The collector, while that is made which stays."""

from __future__ import annotations

import gc

import pytest

from service.memory import staying


@pytest.fixture(autouse=True)
def nothing_stays():
    gc.unfreeze()
    yield
    gc.unfreeze()
    assert gc.isenabled()


def test_the_collector_never_looks_through_what_stays():
    with staying():
        assert not gc.isenabled()
        made = [[number] for number in range(1000)]
    assert gc.isenabled()
    assert not {id(each) for each in made} & {id(each) for each in gc.get_objects()}


def test_what_is_made_later_does_not_stay():
    with staying():
        pass
    before = gc.get_freeze_count()
    with staying():
        assert gc.isenabled()
        made = [[number] for number in range(1000)]
    assert gc.get_freeze_count() <= before
    assert len(made) == 1000


def test_where_it_fails_nothing_stays():
    with pytest.raises(ImportError), staying():
        raise ImportError
    assert gc.get_freeze_count() == 0

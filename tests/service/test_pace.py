"""How long images are expected to take."""

from __future__ import annotations

import pytest

from service.pace import Key, Pace

SMALL, LARGE = Key("ct-l2@1", 16), Key("ct-l2@1", 18)


def test_nothing_is_known_at_first():
    assert Pace().expected([SMALL, LARGE]) == 0


def test_each_kind_has_its_own():
    pace = Pace()
    pace.ran(SMALL, 0.1)
    pace.ran(LARGE, 0.5)
    assert pace.expected([SMALL, LARGE, SMALL]) == pytest.approx(0.7)
    assert pace.expected([Key("other@1", 16)]) == 0


def test_it_follows_what_changes_and_is_not_thrown_by_one_run():
    pace = Pace()
    pace.ran(SMALL, 0.1)
    pace.ran(SMALL, 1.1)
    assert pace.expected([SMALL]) == pytest.approx(0.3)
    for _ in range(40):
        pace.ran(SMALL, 1.1)
    assert pace.expected([SMALL]) == pytest.approx(1.1, rel=0.01)

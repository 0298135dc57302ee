"""How the wire's ratios are made of turns."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import wire

URLS = {"plain": "plain", "infer": "ours"}


def test_each_ratio_is_to_the_plain_endpoint_of_its_round_and_the_first_round_only_warms(monkeypatch):
    asked = []

    def rate(url, _file, clients, _seconds, way):
        asked.append((way, clients))
        return {"plain": 100.0, "ours": 110.0}[url] * clients * len(asked)  # a machine that becomes faster

    monkeypatch.setattr(wire, "_rate", rate)
    tallies = wire._in_turn(URLS, Path("slice.npy"), 1.0, 2)
    assert asked[4:8] == list(reversed(asked[:4])) == list(reversed(asked[8:]))
    assert tallies["infer", 8].rates == [110.0 * 8 * 8, 110.0 * 8 * 9]
    assert tallies["infer", 8].plain == [100.0 * 8 * 7, 100.0 * 8 * 10]


def test_a_ratio_is_the_geometric_mean_with_an_interval_around_it():
    ratio, low, high = wire.Tally(rates=[100.0, 400.0], plain=[100.0, 100.0]).ratio()
    assert ratio == pytest.approx(2.0)
    assert (low, high) == (pytest.approx(1.0), pytest.approx(4.0))
    assert wire.Tally(rates=[3.0, 6.0], plain=[2.0, 4.0]).ratio() == pytest.approx((1.5, 1.5, 1.5))

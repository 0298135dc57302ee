"""The benchmark runs from end to end on a few tiny batches, and its figures have the right names."""

from __future__ import annotations

import re

import pytest

from bench import train


def test_it_runs_and_reports_every_figure(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(train, "SIDE", 96)
    monkeypatch.setattr(train, "SPACING", 3.5)
    monkeypatch.setattr(train, "PHANTOMS", 1)
    monkeypatch.setattr(train, "REPORT", tmp_path / "benchmarks" / "training.md")
    monkeypatch.setattr(train, "ROOT", tmp_path)
    train.main(["--steps", "2", "--rounds", "2", "--batch", "2", "--patch", "32", "--write"])
    report = capsys.readouterr().out
    assert (tmp_path / "benchmarks" / "training.md").read_text() == report
    rows = {
        name: float(share)
        for name, share in re.findall(r"^\| ([^|]+?) \| [0-9.]+ \| ([0-9.]+) \|", report, re.MULTILINE)
    }
    assert rows.keys() == {"precomputed batches", "prefetched, as `clearslice train` does", "made between steps"}
    assert rows["precomputed batches"] == 1.0
    assert min(rows.values()) > 0
    assert re.search(r"Making a batch alone takes [0-9.]+ ms\. The aim, 90% .* is (reached|missed)", report)
    assert "from 1 slices; 2 rounds of 2 steps" in report


def test_shares_are_of_rates():
    base, way = train.Tally([1.0, 3.0]), train.Tally([2.0, 3.0])
    assert way.of(base) == pytest.approx(0.8)
    assert way.spread(base) == (0.5, 1.0)

"""The benchmark runs from end to end, with a tiny model and tiny turns, and its figures have the right names."""

from __future__ import annotations

import re

import pytest

from bench import serve


def test_it_runs_and_reports_every_figure(tiny_store, capsys, monkeypatch):
    monkeypatch.setattr(serve, "STARTS", 1)
    serve.main(["--store", str(tiny_store("offset").writable), "--seconds", "0.2", "--rounds", "1"])
    report = capsys.readouterr().out
    rows = dict(re.findall(r"^\| ([^|]+?) \| ([^|]+?) \|", report, re.MULTILINE))
    assert "tiny-offset@1" in report
    for way in ("REST, 1 client", "REST, 8 clients"):
        assert float(rows[way]) > 0
    assert sum(name.startswith("model in process") for name in rows) == 2
    assert set(re.findall(r"[a-z]+ (?=[0-9.]+[, ])", rows["steps"])) == {"decode ", "queue ", "infer ", "encode "}
    assert float(rows["start to ready, here"].removesuffix(" s")) < 60
    assert rows["DICOM in, derived DICOM out"].endswith("CPU time per slice")


def test_the_corrected_rate_gives_back_what_the_clients_took(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    tally = serve.Tally(images=90, seconds=10.0, client_cpu=2.0)
    assert tally.rate() == 9.0
    assert tally.rate_without_clients() == pytest.approx(10.0)

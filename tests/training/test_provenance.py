from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version

import keras
import numpy as np
import pytest

from training import provenance as module
from training.provenance import data_hashes, differences, processor, read, record, revision, versions


def test_hashes_follow_the_pixels_and_the_noise(prepared):
    series = prepared("a", 1)
    (first,) = data_hashes([series])
    assert first["series"] == series.name
    assert len(first["sha256"]) == 64
    copied = replace(series, images=np.array(series.images))
    assert data_hashes([copied]) == [first]
    changed = np.array(series.images)
    changed[-1, 0, 0] += 1
    noise = replace(series.unit_noise, quantum_sd=2 * series.unit_noise.quantum_sd)
    others = [replace(series, images=changed), replace(series, unit_noise=noise), replace(series, unit_noise=None)]
    assert len({each["sha256"] for each in data_hashes([series, *others])}) == 4


def test_versions_are_those_that_are_installed():
    found = versions()
    assert found["keras"] == keras.__version__
    assert found["numpy"] == np.__version__
    assert found["clearslice"] == version("clearslice")
    assert found["python"] == sys.version.split()[0]
    assert found["tensorflow"].startswith("2.")


def test_the_revision_is_gits(monkeypatch):
    git = shutil.which("git")
    if git is None:
        assert revision() == "unknown"
        return
    head = subprocess.run([git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert head.startswith(revision().removesuffix("-dirty"))
    monkeypatch.setattr(module.shutil, "which", lambda _: None)
    assert revision() == "unknown"


def test_a_run_says_what_it_was_made_of_and_by_what_it_was_resumed(prepared, tmp_path, monkeypatch):
    assert read(tmp_path) is None
    data = {"fit": [prepared("a", 1)], "tune": []}
    record(tmp_path, data, epoch=1, source="scans")
    first = read(tmp_path)
    assert first["source"] == "scans"
    assert first["data"] == {"fit": data_hashes(data["fit"]), "tune": []}
    (part,) = first["trained"]
    assert (part["from_epoch"], part["backend"]) == (1, "tensorflow")
    assert part["machine"]["processor"] == processor()
    assert part["machine"]["cores"] >= 1

    record(tmp_path, data, epoch=2, source="elsewhere")
    assert read(tmp_path) == first  # nothing that matters has changed
    monkeypatch.setattr(module, "revision", lambda: "0123456789ab")
    record(tmp_path, data, epoch=3)
    assert [part["from_epoch"] for part in read(tmp_path)["trained"]] == [1, 3]


def _provenance(**changes):
    part = {
        "revision": "aaaaaaaaaaaa",
        "backend": "tensorflow",
        "versions": {"numpy": "2.0"},
        "machine": {"processor": "P", "cores": 2},
    }
    return {"data": {"fit": [{"series": "s", "sha256": "1"}], "tune": []}, "trained": [part]} | changes


def test_equal_provenances_do_not_differ():
    assert differences(_provenance(), _provenance()) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"data": {"fit": [{"series": "s", "sha256": "2"}], "tune": []}}, ["fit series s: other pixels"]),
        ({"data": {"fit": [], "tune": []}}, ["fit series s: only in one of them"]),
        (
            {"trained": [_provenance()["trained"][0] | {"versions": {"numpy": "2.1"}}]},
            ["numpy: 2.0 then, 2.1 now"],
        ),
        (
            {"trained": [_provenance()["trained"][0] | {"machine": {"processor": "Q", "cores": 4}}]},
            ["processor: P then, Q now", "cores: 2 then, 4 now"],
        ),
        (
            {"trained": [_provenance()["trained"][0] | {"revision": "bbbbbbbbbbbb-dirty"}]},
            ["revision: aaaaaaaaaaaa then, bbbbbbbbbbbb-dirty now", "whether it is the same cannot be told"],
        ),
    ],
)
def test_differences_are_named(changes, says):
    lines = differences(_provenance(), _provenance(**changes))
    assert len(lines) == len(says)
    for line, text in zip(lines, says, strict=True):
        assert text in line


def test_a_run_of_several_parts_is_told():
    two = _provenance()
    two["trained"].append(two["trained"][0] | {"from_epoch": 2})
    assert "trained in 2 parts" in differences(two, _provenance())[0]


def test_it_is_plain_json(prepared, tmp_path):
    record(tmp_path, {"fit": [prepared("a", 1)]}, epoch=1)
    assert json.loads((tmp_path / "provenance.json").read_text()) == read(tmp_path)

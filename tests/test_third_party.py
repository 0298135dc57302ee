"""THIRD_PARTY.md lists exactly the packages of the serving lock, with licences that a closed deployment may use."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8")
SCRIPT = runpy.run_path(str(ROOT / "docs" / "third_party.py"))


def test_the_page_is_up_to_date():
    assert SCRIPT["page"]() == PAGE, "run: make docs"


def test_the_page_lists_exactly_what_the_lock_installs_here():
    lines = (ROOT / "requirements" / "cpu.txt").read_text(encoding="utf-8").splitlines()
    locked = [Requirement(line.removesuffix("\\").strip()) for line in lines if line and line[0] not in " #-"]
    wanted = {found.name for found in locked if found.marker is None or found.marker.evaluate()}
    assert "tensorflow-cpu" in wanted
    assert "colorama" not in wanted  # for Windows only
    table = PAGE.partition("## Libraries")[0]
    assert set(re.findall(r"^\| ([a-z0-9-]+) \| [0-9]", table, re.MULTILINE)) == wanted


def test_no_package_of_the_lock_states_the_gpl_or_agpl():
    for name, _, licence in SCRIPT["rows"]():
        assert not re.search(r"(?<!L)GPL|GNU General|Affero", licence), name


@pytest.mark.parametrize(
    ("metadata", "classifiers", "licence"),
    [
        ({"License-Expression": "MIT OR Apache-2.0", "License": "MIT"}, [], "MIT OR Apache-2.0"),
        ({"License": "Apache 2.0"}, [], "Apache-2.0"),
        ({"License": "MPL-2.0"}, ["License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)"], "MPL-2.0"),
        ({}, ["License :: OSI Approved :: MIT License"], "MIT"),
    ],
)
def test_a_licence_is_read_from_what_a_package_states(metadata, classifiers, licence):
    assert SCRIPT["licence"]("some", metadata, classifiers) == licence


def test_an_unknown_licence_stops_the_page():
    with pytest.raises(SCRIPT["UnknownLicence"], match="some states its licence as 'GPL'"):
        SCRIPT["licence"]("some", {"License": "GPL"}, [])

"""Instances kept apart: removed wholly or not at all, whatever interrupts it."""

from __future__ import annotations

import shutil

import pytest

from service.pacs import quarantine as quarantine_module
from service.pacs.errors import NoSuchPacsJob
from service.pacs.quarantine import Quarantine

ABOUT = {"series": "1.2", "instance": "1.2.3", "received": "2026-03-04", "reason": "another one had come"}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "quarantine"


@pytest.fixture
def one(folder, tmp_path):
    """A quarantine with one instance, and its id."""
    made = Quarantine(folder)
    aside = tmp_path / "aside"
    aside.mkdir()
    made.put(b"data", ABOUT, digest="d", aside=aside)
    (found,) = made.index()
    return made, found["id"]


def test_what_is_removed_is_gone(folder, one):
    made, identity = one
    assert (made.count(), made.find(identity).read_bytes()) == (1, b"data")
    made.remove(identity)
    assert (made.count(), made.index(), list(folder.iterdir())) == (0, [], [])
    with pytest.raises(NoSuchPacsJob, match="no instance with this id"):
        made.remove(identity)


def test_a_removal_that_is_interrupted_leaves_no_half_instance(folder, one, monkeypatch):
    def die(*_, **__):
        raise KeyboardInterrupt

    made, identity = one
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", die)
        with pytest.raises(KeyboardInterrupt):
            made.remove(identity)
    (left,) = folder.iterdir()
    assert {path.name for path in left.iterdir()} == {"about.json", "instance.dcm"}
    assert (made.count(), made.index()) == (0, [])
    with pytest.raises(NoSuchPacsJob):
        made.find(identity)
    Quarantine(folder)
    assert list(folder.iterdir()) == []


def test_of_two_who_remove_it_one_is_told_that_it_is_gone(one, monkeypatch):
    made, identity = one
    found = made.find(identity)
    made.remove(identity)
    monkeypatch.setattr(quarantine_module.Quarantine, "find", lambda *_: found)
    with pytest.raises(NoSuchPacsJob):
        made.remove(identity)

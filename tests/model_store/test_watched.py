"""A store that remembers: no disk for what is known, and nothing old after a change."""

from __future__ import annotations

import shutil

import pytest

from model_store.errors import RefusedVersion, UnknownModel
from model_store.store import ModelStore
from model_store.watched import WatchedStore


@pytest.fixture
def stores(tmp_path, staged, tiny_draft):
    """Another process's view, and the watched one."""
    other = ModelStore(tmp_path / "store", published=None)
    other.publish(staged, tiny_draft(), verifier=lambda _: None)
    watched = WatchedStore(other.writable, None)
    watched.refresh()
    return other, watched


NAME = "tiny-smooth"


def test_what_is_known_is_not_read_again(stores):
    other, watched = stores
    other.set_default(NAME)

    def everything():
        return (
            watched.resolve(NAME),
            watched.names(),
            watched.versions(NAME),
            watched.labels(NAME),
            watched.canary_weight(NAME),
            watched.default_ref(),
            watched.evidence(),
        )

    first = everything()
    shutil.rmtree(other.writable)
    assert everything() == first
    assert everything()[0] is first[0]


def test_what_is_not_known_is_not_looked_for(stores):
    other, watched = stores
    assert watched.resolved(NAME) is None
    found = watched.resolve(NAME)
    shutil.rmtree(other.writable)
    assert watched.resolved(NAME) is found
    assert watched.resolved(f"{NAME}@1") is None


def test_a_change_counts_when_it_looks_the_same_twice(stores, staged, tiny_draft):
    other, watched = stores
    assert watched.resolve(NAME).version == 1
    other.publish(staged, tiny_draft(), verifier=lambda _: None)
    assert not watched.refresh()
    assert watched.resolve(NAME).version == 1
    other.promote(NAME, "stable", 1)
    assert not watched.refresh()  # it still changes
    assert watched.refresh()
    assert watched.resolve(f"{NAME}@2").version == 2
    assert watched.labels(NAME) == {"stable": 1}
    assert not watched.refresh()


def test_a_change_that_is_taken_back_in_between_is_none(stores):
    other, watched = stores
    (other.writable / "note").write_text("x")
    assert not watched.refresh()
    (other.writable / "note").unlink()
    again = [watched.refresh() for _ in range(3)]
    assert sum(again) <= 1  # the folder's own time has changed


def test_weights_that_change_are_seen(stores):
    other, watched = stores
    assert not watched.refresh()
    (other.writable / NAME / "1" / "variables" / "variables.index").write_bytes(b"other")
    assert [watched.refresh(), watched.refresh(), watched.refresh()] == [False, True, False]


def test_a_link_to_nowhere_hides_nothing_else(stores):
    other, watched = stores
    for name in ("a", "z"):
        (other.writable / NAME / name).symlink_to(other.writable / "nowhere")
    assert [watched.refresh() for _ in range(2)] == [False, True]
    (other.writable / NAME / "1" / "variables" / "variables.index").write_bytes(b"other")
    assert [watched.refresh() for _ in range(2)] == [False, True]


def test_errors_are_not_remembered(stores, staged, tiny_draft):
    other, watched = stores
    with pytest.raises(UnknownModel):
        watched.resolve("ct-other")
    other.publish(staged, tiny_draft(name="ct-other"), verifier=lambda _: None)
    assert watched.resolve("ct-other").version == 1


def test_writing_through_it_is_seen_at_once(stores, staged, tiny_draft):
    _, watched = stores
    assert watched.labels(NAME) == {}
    watched.promote(NAME, "stable", 1)
    assert watched.labels(NAME) == {"stable": 1}
    watched.set_default(NAME)
    assert watched.default_ref() == NAME
    assert watched.publish(staged, tiny_draft(), verifier=lambda _: None).version == 2
    assert watched.versions(NAME) == [1, 2]
    watched.remove(NAME, 2)
    assert watched.versions(NAME) == [1]
    with pytest.raises(UnknownModel):
        watched.remove_label(NAME, "none")
    watched.remove_label(NAME, "stable")
    assert watched.labels(NAME) == {}


def test_while_a_store_is_gone_it_is_remembered(stores, tmp_path):
    other, watched = stores
    assert watched.resolve(NAME).version == 1
    other.writable.rename(tmp_path / "away")
    assert [watched.refresh() for _ in range(3)] == [False] * 3
    assert watched.resolve(NAME).version == 1
    assert watched.labels(NAME) == {}  # read while it was gone: not to be remembered
    (tmp_path / "away").rename(other.writable)
    other.promote(NAME, "stable", 1)
    assert [watched.refresh() for _ in range(3)][1:] == [True, False]
    assert watched.resolve(NAME).version == 1
    assert watched.labels(NAME) == {"stable": 1}


def test_a_damaged_manifest_is_refused_after_the_change(stores):
    other, watched = stores
    assert watched.resolve(NAME).version == 1
    (other.writable / NAME / "1" / "manifest.json").write_text("{}")
    watched.refresh()
    assert watched.refresh()
    with pytest.raises(RefusedVersion):
        watched.resolve(NAME)

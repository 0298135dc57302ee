import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from model_store.errors import RefusedVersion, StoreConflict
from model_store.integrity import verify_files
from model_store.store import ModelStore
from model_store.version import read_version

PUBLISHER = """
import sys
from pathlib import Path
from model_store.manifest import ManifestDraft
from model_store.store import ModelStore

def verifier(path):
    print("verifying", flush=True)
    sys.stdin.readline()

store, staged, draft = sys.argv[1:]
version = ModelStore(Path(store), None).publish(
    Path(staged), ManifestDraft.model_validate_json(draft), verifier=verifier
)
print(version.ref, flush=True)
"""
"""Publishes in its own process, and waits inside the verification for a line of input."""


@pytest.fixture
def publisher(store, staged, tiny_draft):
    """Starts `PUBLISHER`; returns once it is inside its verification, unless told not to wait."""
    started = []

    def start(*, wait=True):
        draft = tiny_draft(name="ct-l2").model_dump_json()
        process = subprocess.Popen(
            [sys.executable, "-c", PUBLISHER, str(store.writable), str(staged), draft],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        if wait:
            assert process.stdout.readline() == "verifying\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def snapshot(folder):
    """Everything in a store but the empty files that writers lock."""
    return {
        path.relative_to(folder): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if ".locks" not in path.parts
    }


def test_publishing_copies_hashes_and_keeps_what_was_staged(store, staged, tiny_draft):
    draft = tiny_draft(name="ct-l2", summary="first")
    before = snapshot(staged)
    version = store.publish(staged, draft, verifier=lambda _: None)
    assert version.path == store.writable / "ct-l2" / "1"
    assert (version.manifest.name, version.manifest.version, version.manifest.summary) == ("ct-l2", 1, "first")
    verify_files(version.path, version.manifest)
    assert snapshot(staged) == before
    published = {path: content for path, content in snapshot(version.path).items() if path != Path("manifest.json")}
    assert published == before


def test_the_verifier_sees_the_finished_version_while_no_reader_does(store, staged, tiny_draft):
    seen = []

    def verifier(path):
        version = read_version(path)
        verify_files(path, version.manifest)
        seen.append((version.ref, store.versions("ct-l2"), store.names()))

    store.publish(staged, tiny_draft(name="ct-l2"), verifier=verifier)
    assert seen == [("ct-l2@1", [], [])]


def test_a_refused_publish_leaves_no_trace(store, staged, tiny_draft, publish):
    def refuse(_):
        raise RefusedVersion("worst pixel row 1, column 2")

    for name in ("ct-l2", "other"):
        with pytest.raises(RefusedVersion, match="worst pixel"):
            store.publish(staged, tiny_draft(name=name), verifier=refuse)
        assert snapshot(store.writable) == {}
    publish(store)
    before = snapshot(store.writable)
    with pytest.raises(RefusedVersion):
        store.publish(staged, tiny_draft(name="ct-l2"), verifier=refuse)
    assert snapshot(store.writable) == before
    assert publish(store).ref == "ct-l2@2"  # a number that nobody saw was not used


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_interrupted_publish_leaves_no_trace(store, staged, tiny_draft, error):
    def interrupt(_):
        raise error

    with pytest.raises(error):
        store.publish(staged, tiny_draft(), verifier=interrupt)
    assert snapshot(store.writable) == {}


@pytest.mark.parametrize("name", ["saved_model.pb", "golden.npz", "README.md"])
def test_an_incomplete_folder_is_refused_by_the_missing_name(store, staged, publish, name):
    (staged / name).unlink()
    with pytest.raises(RefusedVersion, match=f"has no '{name}'"):
        publish(store)
    assert snapshot(store.writable) == {}


def test_a_folder_with_a_manifest_or_a_symlink_is_refused(store, staged, tiny_draft, publish):
    (staged / "manifest.json").write_text("{}")
    with pytest.raises(RefusedVersion, match=r"already holds 'manifest\.json'"):
        publish(store)
    (staged / "manifest.json").unlink()
    (staged / "link").symlink_to(staged / "README.md")
    with pytest.raises(RefusedVersion, match="'link' is a symlink"):
        publish(store)
    with pytest.raises(RefusedVersion, match="'none' cannot be listed"):
        store.publish(staged / "none", tiny_draft(), verifier=lambda _: None)


def test_a_draft_that_json_cannot_hold_is_refused_before_anyone_needs_it(store, staged, tiny_draft):
    golden = tiny_draft().golden.model_copy(update={"max_abs": float("nan")})
    with pytest.raises(RefusedVersion, match=r"golden\.max_abs"):
        store.publish(staged, tiny_draft(golden=golden), verifier=lambda _: None)
    assert snapshot(store.writable) == {}


def test_empty_folders_are_not_published(store, staged, publish):
    (staged / "assets").mkdir()
    version = publish(store)
    assert not (version.path / "assets").exists()
    verify_files(version.path, version.manifest)


def test_a_half_copied_folder_keeps_its_number(store, version, publish):
    (version.path.parent / "5").mkdir()
    assert publish(store).ref == "ct-l2@6"
    assert store.versions("ct-l2") == [1, 6]


def test_a_store_that_cannot_be_written_to_says_so(staged, tmp_path, tiny_draft):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreConflict, match="cannot be written to: Not a directory"):
        ModelStore(tmp_path / "file" / "store", None).publish(staged, tiny_draft(), verifier=lambda _: None)


def test_two_processes_publish_under_different_numbers(store, publisher):
    first = publisher()
    second = publisher(wait=False)  # waits for the first, or its number
    assert store.versions("ct-l2") == []
    outputs = [process.communicate("go\n", timeout=60)[0].split()[-1] for process in (first, second)]
    assert outputs == ["ct-l2@1", "ct-l2@2"]
    assert store.versions("ct-l2") == [1, 2]


def test_many_threads_publish_under_different_numbers(store, publish):
    refs = []
    threads = [threading.Thread(target=lambda: refs.append(publish(store).ref)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(refs) == [f"ct-l2@{number}" for number in range(1, 7)]


def test_a_killed_publish_is_invisible_and_the_next_one_cleans_up(store, publisher, publish):
    process = publisher()
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    (leftover,) = (store.writable / "ct-l2").iterdir()
    assert leftover.name.startswith(".staging-")
    assert (leftover / "manifest.json").is_file()
    assert store.names() == []
    assert publish(store).ref == "ct-l2@1"
    assert [path.name for path in (store.writable / "ct-l2").iterdir()] == ["1"]


@pytest.mark.usefixtures("version")
def test_a_running_publish_is_not_disturbed_by_changes_of_labels(store, publisher):
    process = publisher()
    store.promote("ct-l2", "stable", 1)
    store.set_default("ct-l2")
    assert process.communicate("go\n", timeout=60)[0] == "ct-l2@2\n"
    assert store.versions("ct-l2") == [1, 2]

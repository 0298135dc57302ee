"""The file behind the keys: what is refused, and what a running server makes of changes."""

from __future__ import annotations

import asyncio
import os

import pytest
from structlog.testing import capture_logs

from service import keys_file
from service.errors import InvalidKeysFile
from service.keys import ApiKey, Scope, digest_of
from service.keys_file import KeysFile, read_keys
from service.telemetry import Instruments


def line(name: str, key: bytes) -> str:
    return ApiKey(name, frozenset({Scope.RECONSTRUCT}), digest_of(key)).line() + "\n"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "keys"
    path.write_text(line("one", b"1"))
    return path


@pytest.fixture
def opened(path):
    return KeysFile(path, instruments=Instruments())


def stale(opened):
    return opened._instruments.api_keys_stale._value.get()


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the watcher has no event to wait for
            await asyncio.sleep(0.001)


def test_keys_rotate_while_the_server_runs(path, opened):
    assert opened.ring.find(b"1").name == "one"
    path.write_text(line("one", b"1") + line("two", b"2"))
    opened.refresh()
    assert (opened.ring.find(b"1").name, opened.ring.find(b"2").name) == ("one", "two")
    path.write_text(line("two", b"2"))
    with capture_logs() as logged:
        opened.refresh()
    assert opened.ring.find(b"1") is None
    assert [(entry["event"], entry["names"]) for entry in logged] == [("api_keys", ["two"])]


def test_a_mounted_secret_that_changes_behind_its_link(tmp_path):
    for folder, key in (("..1", b"1"), ("..2", b"2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "keys").write_text(line("pacs", key))
    data, path = tmp_path / "..data", tmp_path / "keys"
    data.symlink_to("..1")
    path.symlink_to("..data/keys")
    opened = KeysFile(path, instruments=Instruments())
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").rename(data)  # as Kubernetes does it
    opened.refresh()
    assert opened.ring.find(b"1") is None
    assert opened.ring.find(b"2") is not None


@pytest.mark.parametrize("breaking", ["text", "gone", "writable"])
def test_a_broken_file_keeps_the_keys_and_says_so_once(path, opened, breaking):
    good = path.read_text()
    match breaking:
        case "text":
            path.write_text(good + "nonsense\n")
        case "gone":
            path.unlink()
        case "writable":
            path.chmod(0o666)
    with capture_logs() as logged:
        for _ in range(3):
            opened.refresh()
    assert [entry["log_level"] for entry in logged] == ["error"]
    assert str(path) in logged[0]["reason"]
    assert opened.ring.find(b"1") is not None
    assert stale(opened) == 1
    path.write_text(good)
    path.chmod(0o600)
    opened.refresh()
    assert stale(opened) == 0


def test_watching_sees_a_change_by_itself(path, opened, monkeypatch):
    monkeypatch.setattr(keys_file, "REREAD_SECONDS", 0.001)

    async def change():
        watching = asyncio.create_task(opened.watch())
        path.write_text(line("two", b"2"))
        await until(lambda: opened.ring.find(b"2") is not None)
        watching.cancel()

    asyncio.run(change())


def test_watching_goes_on_after_turns_that_failed(path, opened, monkeypatch):
    def no_thread():
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(keys_file, "REREAD_SECONDS", 0.001)
    path.write_text(line("two", b"2"))

    async def fail_and_recover():
        with monkeypatch.context() as patch:
            patch.setattr(opened, "refresh", no_thread)
            watching = asyncio.create_task(opened.watch())
            await until(lambda: stale(opened) == 1)
        await until(lambda: opened.ring.find(b"2") is not None)
        watching.cancel()

    with capture_logs() as logged:
        asyncio.run(fail_and_recover())
    assert {entry["type"] for entry in logged if entry["event"] == "defect"} == {"RuntimeError"}
    assert stale(opened) == 0


@pytest.mark.parametrize("mode", [0o400, 0o440, 0o444, 0o600, 0o640, 0o644])
def test_others_may_read_hashes(path, mode):
    path.chmod(mode)
    assert len(read_keys(path).keys) == 1


def test_others_may_not_write_because_they_could_add_a_key(path):
    path.chmod(0o602)
    with pytest.raises(InvalidKeysFile, match=f"chmod o-w {path}"):
        read_keys(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (b"#" * (keys_file.MAX_FILE_BYTES + 1), "another kind of file"),
        (b"pacs reconstruct\n", "line 1"),
        (b"", "no key"),
    ],
)
def test_files_that_are_no_keys_file(path, content, reason):
    path.write_bytes(content)
    with pytest.raises(InvalidKeysFile, match=reason) as caught:
        KeysFile(path, instruments=Instruments())
    assert str(path) in str(caught.value)


def test_a_byte_order_mark_does_not_matter(path):
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_keys(path).keys[0].name == "one"


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe"])
def test_what_cannot_be_read(tmp_path, kind):
    path = tmp_path if kind == "folder" else tmp_path / kind
    if kind == "pipe":
        os.mkfifo(path)  # nobody writes to it, so that opening it would wait for ever
    with pytest.raises(InvalidKeysFile, match=str(path)):
        read_keys(path)

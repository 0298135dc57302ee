"""Instances filed into a folder by study and series."""

from __future__ import annotations

import errno
import os

import pytest

from service.pacs.configuration import Peer
from service.pacs.peers import PeerUnavailable, Said
from service.pacs.peers.folder import FolderPeer


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "filed"
    made.mkdir()
    return made


@pytest.fixture
def peer(folder):
    return FolderPeer("files", Peer(folder=folder))


def test_files_are_filed_by_study_and_series(peer, folder, slices, told):
    files = slices(2)
    peer.echo()
    peer.send(files, told)
    assert list(told.items()) == [(path, Said("taken")) for path in files]
    filed = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert filed == {
        "1.2.3/1.2.3.4/1.2.3.4.1.dcm": files[0].read_bytes(),
        "1.2.3/1.2.3.4/1.2.3.4.2.dcm": files[1].read_bytes(),
    }


def test_the_same_once_more_is_taken_and_another_is_not(peer, folder, slices, told):
    peer.send(slices(1), lambda *_: None)
    same, other = slices(1, folder="same"), slices(1, folder="other", PatientID="P2")
    peer.send([*same, *other], told)
    assert told[same[0]] == Said("taken", "the instance was there already")
    assert told[other[0]].verdict == "refused"
    assert (folder / "1.2.3/1.2.3.4/1.2.3.4.1.dcm").read_bytes() == same[0].read_bytes()


KEYWORDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


@pytest.mark.parametrize("wrong", [(keyword, uid) for keyword in KEYWORDS for uid in ("../../1", "1" * 65, "a.b")])
@pytest.mark.filterwarnings("ignore:Invalid value for VR UI", "ignore:The value length")
def test_uids_that_are_none_are_refused(peer, folder, told, ct_file, wrong):
    peer.send([ct_file(**dict([wrong]))], told)
    assert list(told.values()) == [Said("refused", f"the file has no valid {wrong[0]}")]
    assert not list(folder.iterdir())


def test_a_file_without_a_study_is_refused(peer, told, ct_file):
    peer.send([ct_file(drop=("StudyInstanceUID",))], told)
    assert [said.reason for said in told.values()] == ["the file has no valid StudyInstanceUID"]


@pytest.fixture
def ct_file(tmp_path, ct_slice):
    def make(**changes):
        path = tmp_path / "made.dcm"
        path.write_bytes(ct_slice(**{"SOPInstanceUID": "1.2.3.4.1", **changes}))
        return path

    return make


def test_what_is_no_dicom_is_refused(peer, told, tmp_path, slices):
    (tmp_path / "text.dcm").write_text("text", encoding="utf-8")
    peer.send([tmp_path / "text.dcm", *slices(1)], told)
    assert told.verdicts == ["refused", "taken"]


def test_which_instances_are_there(peer, folder, slices):
    assert peer.instances("1.2.3", "1.2.3.4") == frozenset()
    peer.send(slices(3), lambda *_: None)
    (folder / "1.2.3/1.2.3.4/notes.txt").write_text("not ours", encoding="utf-8")
    (folder / "1.2.3/1.2.3.4/.1.2.3.4.9.dcm.0a.part").write_bytes(b"a crash left it")
    assert peer.instances("1.2.3", "1.2.3.4") == {"1.2.3.4.1", "1.2.3.4.2", "1.2.3.4.3"}


@pytest.mark.parametrize("uid", ["..", "a", "", "1/2"])
def test_what_is_no_uid_is_not_looked_for(peer, uid):
    with pytest.raises(ValueError, match="is no UID"):
        peer.instances("1.2.3", uid)


def test_a_folder_that_is_not_there_is_not_made(tmp_path, slices, told):
    peer = FolderPeer("files", Peer(folder=tmp_path / "share"))
    for ask in (peer.echo, lambda: peer.send(slices(1), told), lambda: peer.instances("1.2", "1.3")):
        with pytest.raises(PeerUnavailable, match="its folder is not there; is the share mounted"):
            ask()
    assert not (tmp_path / "share").exists()
    assert not told


def test_a_share_without_hard_links_is_told_before_anything_is_sent(peer, folder, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    peer.echo()
    monkeypatch.setattr("pathlib.Path.hardlink_to", refuse)
    with pytest.raises(PeerUnavailable, match="its folder cannot be used: Operation not permitted"):
        peer.echo()
    assert list(folder.iterdir()) == []


def test_a_full_disk_is_a_matter_of_time(peer, slices, told, monkeypatch):
    written = []

    def write(target, data, *, replace):
        if written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        written.append((target, data, replace))

    monkeypatch.setattr("service.pacs.peers.folder.write_file", write)
    with pytest.raises(PeerUnavailable) as raised:
        peer.send(slices(2), told)
    assert str(raised.value) == "peer 'files': its folder cannot be used: No space left on device"
    assert told.verdicts == ["taken"]


def test_a_file_where_a_folder_should_be(peer, folder, slices, told):
    (folder / "1.2.3").write_text("in the way", encoding="utf-8")
    with pytest.raises(PeerUnavailable, match="its folder cannot be used: File exists"):
        peer.send(slices(1), told)
    with pytest.raises(PeerUnavailable, match="its folder cannot be used: Not a directory"):
        peer.instances("1.2.3", "1.2.3.4")


def test_a_file_that_is_gone_is_not_the_folders_fault(peer, told, tmp_path):
    with pytest.raises(FileNotFoundError):
        peer.send([tmp_path / "gone.dcm"], told)

"""The door: an instance lies on the disk as it came before anybody says so, once, and under its own name."""

from __future__ import annotations

import io
import os
import re
import stat
import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage

from imaging.errors import UnsuitableImage
from service.dicom.identity import IMPLEMENTATION_CLASS_UID
from service.pacs.errors import NoRoom

SOURCE = "series/1.2.3.4/source/1.2.3.4.5.dcm"
MARKER = "arriving/1.2.3.4"


@dataclass
class FakeSync:
    """os.fsync that remembers which files and folders it was called for."""

    flushed: list[str] = field(default_factory=list)

    def __call__(self, descriptor):
        self.flushed.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        os.fdatasync(descriptor)


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "deflated", "big"])
@pytest.mark.parametrize("preamble", [b"", b"MZ\x90\0", b"\x7fELF", b"II*\0\x08\0\0\0"])
def test_the_data_set_is_written_as_it_came_and_nothing_else(door, scu, ct_slice, syntax, preamble):
    node = door()
    sent = ct_slice(syntax=syntax)
    sent = preamble.ljust(128, b"\x90") + sent[128:]
    taken = node.take(sent)
    assert (taken.kind, taken.study, taken.series, taken.uid) == ("new", "1.2.3", "1.2.3.4", "1.2.3.4.5")
    assert taken.sop_class == CTImageStorage
    kept = node.source("1.2.3.4.5")
    assert kept[:132] == bytes(128) + b"DICM"
    assert scu.data_set_of(kept) == scu.data_set_of(sent)
    meta = dcmread(io.BytesIO(kept)).file_meta
    assert {element.keyword: element.value for element in meta} == {
        "FileMetaInformationGroupLength": meta.FileMetaInformationGroupLength,
        "FileMetaInformationVersion": b"\0\1",
        "MediaStorageSOPClassUID": CTImageStorage,
        "MediaStorageSOPInstanceUID": "1.2.3.4.5",
        "TransferSyntaxUID": dcmread(io.BytesIO(sent)).file_meta.TransferSyntaxUID,
        "ImplementationClassUID": IMPLEMENTATION_CLASS_UID,
        "ImplementationVersionName": "CLEARSLICE",
        "SourceApplicationEntityTitle": "SCANNER",
        "ReceivingApplicationEntityTitle": "CLEARSLICE",
    }
    assert node.left() == {SOURCE, MARKER}


def test_trailing_bytes_and_private_elements_are_kept(door, scu, ct_dataset):
    node = door()
    dataset = ct_dataset()
    dataset.private_block(0x0029, "SOMEBODY", create=True).add_new(1, "UN", b"secret")
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    sent = file.getvalue() + b"\xfc\xff\xfc\xffOB\0\0\4\0\0\0last"
    node.take(sent)
    assert scu.data_set_of(node.source("1.2.3.4.5")) == scu.data_set_of(sent)


def test_a_long_name_of_a_key_is_cut(door, ct_slice):
    node = door()
    node.take(ct_slice(), sender="a-name-of-more-than-16-characters")
    assert dcmread(io.BytesIO(node.source("1.2.3.4.5"))).file_meta.SourceApplicationEntityTitle == "a-name-of-more-t"


def test_file_and_folders_are_flushed_before_it_is_said_to_be_there(door, ct_slice, monkeypatch):
    node = door()
    sync = FakeSync()
    monkeypatch.setattr(os, "fsync", sync)
    node.take(ct_slice())
    flushed = [Path(path).relative_to(node.folder) for path in sync.flushed]
    assert any(
        re.fullmatch(r"series/1\.2\.3\.4/source/\.1\.2\.3\.4\.5\.dcm\.\w+\.part.*", str(path)) for path in flushed
    )
    for folder in ("series", "series/1.2.3.4", "series/1.2.3.4/source", "arriving"):
        assert Path(folder) in flushed
    # the file before the folder that names it
    order = [str(path) for path in flushed]
    assert order.index("series/1.2.3.4/source") > next(
        i for i, path in enumerate(order) if ".part" in path and "source" in path
    )
    # what came again was perhaps written by another process, which has not flushed the folder yet
    sync.flushed.clear()
    assert node.take(ct_slice()).kind == "again"
    assert str(node.folder / "series/1.2.3.4/source") in sync.flushed


def test_nothing_is_said_to_be_there_if_the_disk_does_not_say_so(door, ct_slice, monkeypatch):
    node = door()

    def fail(_):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(NoRoom, match="the disk of this node failed: Input/output error; try again later"):
            node.take(ct_slice())
    assert node.left() <= {MARKER}
    assert node.take(ct_slice()).kind == "new"


def test_the_same_again_is_no_second_one(door, ct_slice):
    node = door()
    sent = ct_slice()
    assert [node.take(sent).kind for _ in range(3)] == ["new", "again", "again"]
    # whoever sends it, and whatever stands in its preamble and file meta information
    assert node.take(b"x" * 128 + sent[128:], sender="OTHER").kind == "again"
    assert node.left() == {SOURCE, MARKER}
    assert dcmread(io.BytesIO(node.source("1.2.3.4.5"))).file_meta.SourceApplicationEntityTitle == "SCANNER"


def test_the_same_uid_with_other_content_is_quarantined_and_the_first_stays(door, scu, ct_slice):
    node = door()
    first, other = ct_slice(), ct_slice(np.ones((12, 16), np.int16))
    node.take(first)
    before = node.source("1.2.3.4.5")
    assert node.take(other).kind == "quarantined"
    assert node.take(other).kind == "quarantined"  # kept once
    assert node.take(ct_slice(syntax="implicit")).kind == "quarantined"  # another encoding is other content, too
    assert node.source("1.2.3.4.5") == before
    index = node.arrivals.quarantine.index()
    assert len(index) == node.arrivals.quarantine.count() == 2
    assert {key: index[0][key] for key in ("study", "series", "instance")} == {
        "study": "1.2.3",
        "series": "1.2.3.4",
        "instance": "1.2.3.4.5",
    }
    kept = {scu.data_set_of(node.arrivals.quarantine.find(each["id"]).read_bytes()) for each in index}
    assert kept == {scu.data_set_of(other), scu.data_set_of(ct_slice(syntax="implicit"))}
    assert not list((node.folder / "incoming").iterdir())


def test_what_was_known_before_the_series_was_closed_is_known(door, ct_slice):
    node = door()
    node.take(ct_slice())
    series = node.arrivals.series("1.2.3.4")
    with series.written():
        series.write_known({"1.2.3.4.5": node.arrivals._digest_before(series, "1.2.3.4.5")})
        series.remove_sources()
    assert node.take(ct_slice()).kind == "again"
    assert node.sources() == ["1.2.3.4.5"]
    series.remove_sources()
    assert node.take(ct_slice(np.ones((12, 16), np.int16))).kind == "quarantined"
    assert node.sources() == []


def test_an_instance_that_the_disk_has_damaged_is_not_mixed_up_with_a_sound_one(door, ct_slice):
    node = door()
    node.take(ct_slice())
    (node.folder / SOURCE).write_bytes(bytes(100))
    assert node.take(ct_slice()).kind == "quarantined"
    assert node.source("1.2.3.4.5") == bytes(100)


def at_once(*work):
    """Results, in order; all begin at the same time."""
    begun = threading.Barrier(len(work))
    found = [None] * len(work)

    def run(number):
        begun.wait(20)
        found[number] = work[number]()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return found


def test_the_same_instance_from_two_senders_at_once(door, ct_slice):
    for number in range(10):
        first, second = door(), door()
        sent = ct_slice(SOPInstanceUID=f"1.2.9.{number}")
        kinds = at_once(lambda a=first, s=sent: a.take(s).kind, lambda b=second, s=sent: b.take(s).kind)
        assert sorted(kinds) == ["again", "new"]
    assert first.sources() == sorted(f"1.2.9.{number}" for number in range(10))
    assert not [path for path in first.left() if "part" in path]


def test_two_instances_of_one_uid_at_once_are_both_kept(door, scu, ct_slice, monkeypatch):
    """Both have looked, and found nothing, before either writes."""
    node, other = door(), door()
    looked = threading.Barrier(2)
    before = type(node.arrivals)._digest_before
    first_looks = threading.local()

    def look(arrivals, series, uid):
        found = before(arrivals, series, uid)
        if not getattr(first_looks, "over", False):
            first_looks.over = True
            looked.wait(20)
        return found

    monkeypatch.setattr(type(node.arrivals), "_digest_before", look)
    files = [ct_slice(), ct_slice(np.ones((12, 16), np.int16))]
    kinds = at_once(lambda: node.take(files[0]).kind, lambda: other.take(files[1]).kind)
    assert sorted(kinds) == ["new", "quarantined"]
    (aside,) = node.arrivals.quarantine.index()
    kept = [node.source("1.2.3.4.5"), node.arrivals.quarantine.find(aside["id"]).read_bytes()]
    assert {scu.data_set_of(data) for data in kept} == {scu.data_set_of(data) for data in files}


def test_nobody_else_can_read_anything(door, ct_slice):
    old = os.umask(0)
    try:
        node = door()
        node.take(ct_slice())
        node.take(ct_slice(np.ones((12, 16), np.int16)))
        with pytest.raises(UnsuitableImage):
            node.take(ct_slice(RescaleSlope="0", SOPInstanceUID="1.2.3.4.6"))
    finally:
        os.umask(old)
    for path in [node.folder, *node.folder.rglob("*")]:
        if path.is_dir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
    assert stat.S_IMODE((node.folder / "series/1.2.3.4/present").stat().st_mode) == 0o600


def test_no_patient_data_in_names_notes_and_messages(door, ct_slice):
    node = door()
    data = {"PatientName": "Secret^Name", "PatientID": "SECRETID", "PatientBirthDate": "19010203"}
    node.take(ct_slice(**data))
    node.take(ct_slice(np.ones((12, 16), np.int16), **data))
    with pytest.raises(UnsuitableImage) as error:
        node.take(ct_slice(SOPInstanceUID="1.2.3.4.6", RescaleSlope="0", **data))
    told = [str(error.value), *(str(path) for path in node.folder.rglob("*"))]
    told += [path.read_text() for path in node.folder.rglob("*.json")]
    assert not re.search(r"secret|19010203", " ".join(told), re.IGNORECASE)

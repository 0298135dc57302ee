"""Sending by DIMSE to a real service: what arrives, and what each of its answers means."""

from __future__ import annotations

import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from service.dicom.identity import IMPLEMENTATION_CLASS_UID
from service.pacs.peers import Said


def test_echo_names_who_we_are(dimse):
    archive = dimse.Archive()
    with archive.running() as peer:
        peer.echo()
    assert archive.callers == {("CLEARSLICE", IMPLEMENTATION_CLASS_UID, "CLEARSLICE")}


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "deflated", "big"])
def test_the_bytes_of_the_data_set_arrive_as_they_are(dimse, slices, told, syntax):
    archive = dimse.Archive()
    files = slices(3, syntax=syntax)
    with archive.running() as peer:
        peer.send(files, told)
    assert list(told.items()) == [(path, Said("taken")) for path in files]
    assert [uid for uid, _, _ in archive.received] == ["1.2.3.4.1", "1.2.3.4.2", "1.2.3.4.3"]
    for path, (_, data, _) in zip(files, archive.received, strict=True):
        assert data == dimse.data_set(path.read_bytes())


@pytest.mark.parametrize("extra", range(-3, 4))
def test_no_byte_is_lost_where_a_message_part_ends(dimse, slices, told, extra):
    archive = dimse.Archive()
    part = 4096 - 6
    files = slices(1)
    size = len(dimse.data_set(files[0].read_bytes()))
    # a comment of just the length that fills two parts, give or take
    files = slices(1, ImageComments="x" * (2 * part - size - 8 + 2 * extra))
    assert len(dimse.data_set(files[0].read_bytes())) == 2 * part + 2 * extra
    with archive.running() as peer:
        peer.send(files, told)
    assert archive.received[0][1] == dimse.data_set(files[0].read_bytes())


def test_each_file_goes_out_in_its_own_syntax(dimse, slices, told):
    archive = dimse.Archive()
    files = [*slices(1, folder="a", syntax="explicit"), *slices(1, folder="b", syntax="implicit")]
    with archive.running() as peer:
        peer.send(files, told)
    assert [context[2] for _, _, context in archive.received] == [ExplicitVRLittleEndian, ImplicitVRLittleEndian]


def test_nothing_is_converted_to_a_syntax_that_the_peer_would_take(dimse, slices, told):
    archive = dimse.Archive()
    archive.syntaxes = [ImplicitVRLittleEndian]
    files = [*slices(1, folder="a", syntax="explicit"), *slices(1, folder="b", syntax="implicit")]
    with archive.running() as peer:
        peer.send(files, told)
    refused = Said("refused", "the peer takes no CT Image Storage in Explicit VR Little Endian")
    assert told == {files[0]: refused, files[1]: Said("taken")}


def test_a_peer_that_takes_nothing_of_it(dimse, slices, told):
    archive = dimse.Archive()
    archive.sop_classes = []
    with archive.running() as peer:
        peer.send(slices(2), told)
    assert (
        list(told.values()) == [Said("refused", "the peer takes no CT Image Storage in Explicit VR Little Endian")] * 2
    )


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (0x0000, Said("taken")),
        (0xB000, Said("taken", "B000H: values were coerced")),
        (0xB006, Said("taken", "B006H: elements were discarded")),
        (0xB007, Said("taken", "B007H: the instance does not fit its SOP class")),
        (0x0111, Said("taken", "0111H: the instance was there already")),
        (0xA700, Said("later", "A700H: out of resources")),
        (0xA7FF, Said("later", "A7FFH: out of resources")),
        (0x0110, Said("later", "0110H: processing failure")),
        (0x0213, Said("later", "0213H: out of resources")),
        (0x0122, Said("refused", "0122H: the SOP class is not supported")),
        (0x0124, Said("refused", "0124H: we are not authorised")),
        (0x0117, Said("refused", "0117H: the message or the instance is not valid there")),
        (0xA900, Said("refused", "A900H: the instance does not fit its SOP class")),
        (0xC000, Said("refused", "C000H: the instance cannot be understood")),
        (0xCFFF, Said("refused", "CFFFH: the instance cannot be understood")),
        (0xE123, Said("later", "E123H: an unknown status")),
    ],
)
def test_every_status(dimse, slices, told, status, said):
    archive = dimse.Archive()
    archive.status = status
    with archive.running() as peer:
        peer.send(slices(2), told)
    assert list(told.values()) == [said, said]


def test_files_that_are_no_dicom_are_refused_and_the_others_sent(dimse, slices, told, tmp_path):
    archive = dimse.Archive()
    text, nameless = tmp_path / "text.dcm", tmp_path / "nameless.dcm"
    text.write_text("not DICOM", encoding="utf-8")
    nameless.write_bytes(b"\0" * 128 + b"DICM")
    with archive.running() as peer:
        peer.send([text, nameless, *slices(1)], told)
    assert told.verdicts == ["refused", "refused", "taken"]
    assert told[nameless].reason == "the file meta information has no valid MediaStorageSOPClassUID"


def test_a_data_set_of_an_odd_length_is_refused_and_never_sent(dimse, slices, told):
    archive = dimse.Archive()
    odd, even = slices(2, syntax="deflated")
    odd.write_bytes(odd.read_bytes() + b"\0")
    with archive.running() as peer:
        peer.send([odd, even], told)
    assert told.verdicts == ["refused", "taken"]
    assert [uid for uid, _, _ in archive.received] == ["1.2.3.4.2"]


def test_no_association_for_nothing(dimse, told):
    dimse.client(1).send([], told)
    assert not told


def test_a_file_that_is_not_there(dimse, told, tmp_path):
    with pytest.raises(FileNotFoundError):
        dimse.client(1).send([tmp_path / "gone.dcm"], told)


def test_kinds_beyond_what_one_association_can_propose_are_sent_later(dimse, slices, told, monkeypatch):
    monkeypatch.setattr("service.pacs.peers.dimse.MOST_CONTEXTS", 1)
    archive = dimse.Archive()
    with archive.running() as peer:
        peer.send([*slices(1, folder="a"), *slices(1, folder="b", syntax="implicit")], told)
    assert told.verdicts == ["taken", "later"]

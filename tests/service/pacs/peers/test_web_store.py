"""STOW-RS: what arrives, and what each answer says of each instance."""

from __future__ import annotations

import json

import pytest

from service.pacs.peers import PeerUnavailable, Said
from service.pacs.peers.store_answer import said_by_instance


def test_bytes_arrive_as_they_are(web, slices, told):
    files = slices(3)
    with web.serving(web.always(200, web.JSON, web.stored(["1.2.3.4.1", "1.2.3.4.2", "1.2.3.4.3"]))) as (
        peer,
        requests,
    ):
        peer.send(files, told)
    (asked,) = requests
    assert (asked.method, asked.path) == ("POST", "/dicom-web/studies")
    assert asked.headers["Accept"] == "application/dicom+json"
    assert "Transfer-Encoding" not in asked.headers
    assert web.parts_of(asked) == [path.read_bytes() for path in files]
    assert list(told.items()) == [(path, Said("taken")) for path in files]


def test_no_request_is_larger_than_agreed(web, slices, told, monkeypatch):
    files = slices(5)
    size = files[0].stat().st_size
    monkeypatch.setattr("service.pacs.peers.dicomweb.BODY_BYTES", 2 * size)
    with web.serving(web.always(200, web.JSON, b"{}")) as (peer, requests):
        peer.send(files, told)
    assert [len(web.parts_of(request)) for request in requests] == [2, 2, 1]
    assert told.verdicts == ["taken"] * 5


def test_one_that_is_larger_goes_alone(web, slices, told, monkeypatch):
    monkeypatch.setattr("service.pacs.peers.dicomweb.BODY_BYTES", 10)
    with web.serving(web.always(200, web.JSON, b"{}")) as (peer, requests):
        peer.send(slices(2), told)
    assert [len(web.parts_of(request)) for request in requests] == [1, 1]


def test_some_are_taken_and_some_are_not(web, slices, told):
    answer = web.stored(
        ["1.2.3.4.1"],
        [("1.2.3.4.2", 0xA700), ("1.2.3.4.3", 0x0110), ("1.2.3.4.4", 0xC122), ("1.2.3.4.5", 0x0122)],
        [("1.2.3.4.6", 0xB000)],
    )
    with web.serving(web.always(202, web.JSON, answer)) as (peer, _):
        peer.send(slices(7), told)
    assert list(told.values()) == [
        Said("taken"),
        Said("later", "A700H: out of resources"),
        Said("later", "0110H: processing failure"),
        Said("refused", "C122H: the instance cannot be understood"),
        Said("refused", "0122H: the SOP class is not supported"),
        Said("taken", "B000H: values were coerced"),
        Said("later", "202, and nothing is said of the instance"),
    ]


@pytest.mark.parametrize(
    "body", [b"{}", b'{"00081199": {"vr": "SQ"}}', b'{"00081198": {"vr": "SQ", "Value": []}}', b""]
)
@pytest.mark.parametrize("status", [200, 202, 409])
def test_sequences_that_are_absent_or_empty(web, slices, told, status, body):
    with web.serving(web.always(status, web.JSON, body)) as (peer, _):
        peer.send(slices(2), told)
    assert told.verdicts == ["taken" if status == 200 else "later"] * 2


def test_none_is_taken(web, slices, told):
    with web.serving(web.always(409, web.JSON, web.stored(failed=[("1.2.3.4.1", 0xA900), ("1.2.3.4.2", 0xA900)]))) as (
        peer,
        _,
    ):
        peer.send(slices(2), told)
    assert told.verdicts == ["refused"] * 2


@pytest.mark.parametrize(("status", "verdict"), [(200, "taken"), (202, "later")])
def test_answers_in_xml_count_by_their_status(web, slices, told, status, verdict):
    body = b'<?xml version="1.0"?><NativeDicomModel/>'
    with web.serving(web.always(status, {"Content-Type": "application/dicom+xml"}, body)) as (peer, _):
        peer.send(slices(1), told)
    assert told.verdicts == [verdict]


@pytest.mark.parametrize(
    "body", [b"<html>", b"[1, 2]", b"7", b'"text"', b'{"00081199": 5}', b'{"00081199": {"Value": 7}}', b"[" * 10**5]
)
def test_answers_that_are_something_else_leave_nothing_told(web, slices, told, body):
    with web.serving(web.always(200, {}, body)) as (peer, _), pytest.raises(PeerUnavailable, match="something else"):
        peer.send(slices(1), told)
    assert not told


def test_a_body_that_is_too_large_is_sent_by_halves(web, slices, told):
    def answer(request):
        return (413, {}, b"") if len(web.parts_of(request)) > 1 else (200, web.JSON, b"{}")

    with web.serving(answer) as (peer, requests):
        peer.send(slices(3), told)
    assert [len(web.parts_of(request)) for request in requests] == [3, 1, 2, 1, 1]
    assert told.verdicts == ["taken"] * 3


def test_an_instance_that_spoils_the_whole_request(web, slices, told):
    """Orthanc answers 400 when it cannot read one of many."""
    files = slices(4)
    bad = files[2].read_bytes()

    def answer(request):
        return (400, {}, b'{"00081198": {"vr": "SQ"}}') if bad in web.parts_of(request) else (200, web.JSON, b"{}")

    with web.serving(answer) as (peer, _):
        peer.send(files, told)
    assert told[files[2]] == Said("refused", "400: it cannot read the instance")
    assert [told[path].verdict for path in (files[0], files[1], files[3])] == ["taken"] * 3


def test_what_was_told_stays_when_a_later_request_fails(web, slices, told, monkeypatch):
    monkeypatch.setattr("service.pacs.peers.dicomweb.BODY_BYTES", 10)
    answers = [(200, web.JSON, b"{}"), (503, {}, b"")]
    with web.serving(lambda _: answers.pop(0)) as (peer, _), pytest.raises(PeerUnavailable):
        peer.send(slices(3), told)
    assert told.verdicts == ["taken"]


def test_files_that_are_no_dicom_are_not_sent(web, told, tmp_path):
    (tmp_path / "text.dcm").write_text("text", encoding="utf-8")
    with web.serving(web.always(200, web.JSON, b"{}")) as (peer, requests):
        peer.send([tmp_path / "text.dcm"], told)
    assert told.verdicts == ["refused"]
    assert not requests


def test_a_data_set_in_a_list_is_read_too(web):
    found = json.loads(web.stored(["1.2"]))
    assert said_by_instance("pacs", [found]) == {"1.2": Said("taken")}


def test_a_failure_counts_for_more_than_its_opposite(web):
    found = json.loads(web.stored(["1.2", "1.3"], [("1.2", 0xA700), ("1.4", 0x0111), ("1.5", 0xB000)]))
    assert {uid: said.verdict for uid, said in said_by_instance("pacs", found).items()} == {
        "1.2": "later",
        "1.3": "taken",
        "1.4": "taken",
        "1.5": "later",
    }

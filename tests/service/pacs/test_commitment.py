"""Data sets of storage commitment, built and read."""

from __future__ import annotations

import io

import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pynetdicom.dsutils import decode, encode

from service.pacs.commitment import (
    ALL_COMMITTED,
    SOME_FAILED,
    CommitmentReport,
    CommitmentRequest,
    event_for,
    report_of,
    request_for,
    request_of,
)
from service.pacs.peers import PeerError

CT = "1.2.840.10008.5.1.4.1.1.2"
ONE, TWO = (CT, "1.2.1"), (CT, "1.2.2")


def sent(dataset):
    """As it is on the other side, where elements convert when they are looked at."""
    written = encode(dataset, is_implicit_vr=True, is_little_endian=True)
    return decode(io.BytesIO(written), is_implicit_vr=True, is_little_endian=True)


def sequence(*uids, reason=None):
    items = []
    for uid in uids:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CT, uid
        if reason is not None:
            item.FailureReason = reason
        items.append(item)
    return items


def information(**changes):
    made = Dataset()
    for keyword, value in {"TransactionUID": "1.9", "ReferencedSOPSequence": sequence("1.2.1"), **changes}.items():
        if value is not None:
            setattr(made, keyword, value)
    return made


def test_a_request_arrives_as_it_was_meant():
    asked = request_for([ONE, TWO], "1.9")
    assert [item.ReferencedSOPInstanceUID for item in asked.ReferencedSOPSequence] == ["1.2.1", "1.2.2"]
    assert request_of(sent(asked)) == CommitmentRequest("1.9", (ONE, TWO))


def test_all_is_kept():
    event_type, told = event_for("1.9", [ONE, TWO], {})
    assert event_type == ALL_COMMITTED == 1
    assert "FailedSOPSequence" not in told
    assert report_of(event_type, sent(told)) == CommitmentReport("1.9", frozenset({"1.2.1", "1.2.2"}), {})


def test_some_is_not_kept():
    event_type, told = event_for("1.9", [ONE], {TWO: 0x0112})
    assert event_type == SOME_FAILED == 2
    expected = CommitmentReport("1.9", frozenset({"1.2.1"}), {"1.2.2": "0112H: it does not have the instance"})
    assert report_of(event_type, sent(told)) == expected


def test_nothing_is_kept():
    event_type, told = event_for("1.9", [], {ONE: 0x0110})
    assert "ReferencedSOPSequence" not in told
    assert report_of(event_type, sent(told)).failed == {"1.2.1": "0110H: processing failure"}


def test_failures_that_are_present_and_empty_are_none():
    report = report_of(ALL_COMMITTED, sent(information(FailedSOPSequence=[])))
    assert report == CommitmentReport("1.9", frozenset({"1.2.1"}), {})


@pytest.mark.parametrize("event_type", [ALL_COMMITTED, SOME_FAILED])
def test_failures_count_whatever_the_event_type_and_the_other_sequence_say(event_type):
    told = information(
        ReferencedSOPSequence=sequence("1.2.1", "1.2.2"), FailedSOPSequence=sequence("1.2.2", reason=0x0213)
    )
    report = report_of(event_type, sent(told))
    assert report.committed == {"1.2.1"}
    assert report.failed == {"1.2.2": "0213H: out of resources"}


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (None, "no reason was given"),
        (0x0131, "0131H: it knows the transaction already"),
        (7, "0007H: an unknown reason"),
    ],
)
def test_reasons(reason, text):
    told = information(FailedSOPSequence=sequence("1.2.2", reason=reason))
    assert report_of(SOME_FAILED, sent(told)).failed == {"1.2.2": text}


@pytest.mark.parametrize("event_type", [0, 3, 65535])
def test_unknown_event_types(event_type):
    with pytest.raises(PeerError, match=f"unknown event type {event_type}"):
        report_of(event_type, information())


def without(keyword):
    made = information()
    del made.ReferencedSOPSequence[0][keyword]
    return made


def raw(tag, vr, value):
    made = information()
    made[tag] = RawDataElement(Tag(tag), vr, len(value), value, 0, True, True)
    return made


@pytest.mark.parametrize(
    "told",
    [
        Dataset(),
        information(TransactionUID=None),
        information(TransactionUID=""),
        information(TransactionUID=["1.9", "1.8"]),
        without("ReferencedSOPInstanceUID"),
        without("ReferencedSOPClassUID"),
        raw(0x00081199, "LO", b"no sequence"),
        raw(0x00081198, None, b"no sequence"),
        raw(0x00081198, "SQ", b"\xff" * 7),
    ],
)
def test_malformed_data_sets(told):
    with pytest.raises(PeerError, match="is malformed"):
        report_of(ALL_COMMITTED, told)


def test_a_request_for_nothing():
    with pytest.raises(PeerError, match="names no instance"):
        request_of(sent(information(ReferencedSOPSequence=[])))
    with pytest.raises(PeerError, match="is malformed"):
        request_of(Dataset())


def test_messages_repeat_no_value():
    with pytest.raises(PeerError) as raised:
        report_of(ALL_COMMITTED, raw(0x00081199, "LO", b"Doe^Jane"))
    assert "Doe" not in str(raised.value)

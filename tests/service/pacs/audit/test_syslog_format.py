"""Syslog messages, by the letter of RFC 5424, RFC 6587 and PS3.15 A.6."""

from __future__ import annotations

import dataclasses
import datetime as dt

import pytest

from service.pacs.audit.codes import Outcome
from service.pacs.audit.syslog_format import octet_counted, syslog_message


def test_a_message_has_the_head_that_the_standard_says(record):
    assert syslog_message(record(7), host="ct.example.org", process=4711) == (
        b"<85>1 2026-03-04T05:06:07.890+00:00 ct.example.org clearslice 4711 DICOM+RFC3881 - "
        b"\xef\xbb\xbf<AuditMessage n='7'/>"
    )


@pytest.mark.parametrize("outcome", [Outcome.MINOR, Outcome.SERIOUS, Outcome.MAJOR])
def test_failures_are_warnings(record, outcome):
    assert syslog_message(record(outcome=outcome), host="x", process=1).startswith(b"<84>1 ")


@pytest.mark.parametrize(
    ("host", "told"), [("", b"-"), ("a b\n", b"ab"), ("münchen", b"mnchen"), ("x" * 300, b"x" * 255)]
)
def test_the_host_is_one_word_of_ascii(record, host, told):
    assert syslog_message(record(), host=host, process=1).split(b" ")[2] == told


def test_times_keep_their_zone(record):
    west = dataclasses.replace(
        record(), when=dt.datetime(2026, 1, 1, tzinfo=dt.timezone(-dt.timedelta(hours=3, minutes=30)))
    )
    assert b" 2026-01-01T00:00:00.000-03:30 " in syslog_message(west, host="x", process=1)


def test_frames_count_octets_and_not_characters():
    assert octet_counted("ä".encode()) == b"2 \xc3\xa4"

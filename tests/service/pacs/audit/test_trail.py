"""What the node tells, and what the trail makes of it."""

from __future__ import annotations

import datetime as dt
import os
import socket
from xml.etree import ElementTree as ET

import pytest
import structlog

from service.pacs.audit.codes import Outcome
from service.pacs.audit.facts import Party, Patient, Source, Study
from service.pacs.audit.settings import Audit
from service.pacs.audit.trail import Trail, no_trail, open_trail

SCANNER = Party(user="CT1", aet="CT1", host="10.1.2.3")
STUDY = Study(uid="1.2.3.4", instances=(("1.2.840.10008.5.1.4.1.1.2", 2),))
PATIENT = Patient(id="4-5-6", name="Doe^Jane")
NOON = dt.datetime(2026, 3, 4, 12, 0, tzinfo=dt.timezone(dt.timedelta(hours=2)))


def parsed(xml):
    return ET.fromstring(xml)  # noqa: S314 - we wrote it


class FakeBacklog:
    """Keeps what is put down."""

    def __init__(self) -> None:
        self.records, self.closed = [], False

    def put(self, record) -> None:
        self.records.append(record)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def told():
    """(trail, its FakeBacklog)."""
    backlog = FakeBacklog()
    return Trail("CLEARSLICE", backlog, lambda: NOON), backlog


CALLS = {
    "started": (lambda trail: trail.started(), "110100", "E", "0"),
    "stopped": (lambda trail: trail.stopped(), "110100", "E", "0"),
    "received": (lambda trail: trail.received(SCANNER, STUDY, PATIENT), "110104", "C", "0"),
    "received again": (lambda trail: trail.received(SCANNER, STUDY, PATIENT, new=False), "110104", "R", "0"),
    "not received": (
        lambda trail: trail.received(SCANNER, STUDY, PATIENT, outcome=Outcome.MINOR, reason="disk full"),
        "110104",
        "C",
        "4",
    ),
    "sending": (lambda trail: trail.sending(SCANNER, STUDY, PATIENT), "110102", "E", "0"),
    "sent": (lambda trail: trail.sent(SCANNER, STUDY, PATIENT, anonymized=True), "110104", "R", "0"),
    "not sent": (lambda trail: trail.sent(SCANNER, STUDY, PATIENT, outcome=Outcome.SERIOUS), "110104", "R", "8"),
    "queried": (lambda trail: trail.queried(Party(user="pacs"), "https://pacs/studies?x=1"), "110112", "E", "0"),
    "rejected": (lambda trail: trail.rejected(SCANNER, "not known"), "110113", "E", "8"),
}


@pytest.mark.parametrize("name", CALLS)
def test_each_call_is_one_message(told, name):
    trail, backlog = told
    call, event, action, outcome = CALLS[name]
    call(trail)
    (record,) = backlog.records
    root = parsed(record.xml)
    identification = root.find("EventIdentification")
    assert identification.find("EventID").get("csd-code") == event
    assert identification.attrib == {
        "EventActionCode": action,
        "EventDateTime": "2026-03-04T10:00:00.000+00:00",
        "EventOutcomeIndicator": outcome,
    }
    assert root.find("AuditSourceIdentification").get("AuditSourceID") == "CLEARSLICE"
    assert (record.when, str(int(record.outcome))) == (NOON, outcome)
    us = [
        each.attrib for each in root.iter("ActiveParticipant") if each.get("AlternativeUserID") == "AETITLES=CLEARSLICE"
    ]
    assert [(each["UserID"], each["UserName"], each["NetworkAccessPointID"]) for each in us] == [
        (str(os.getpid()), "clearslice", socket.gethostname())
    ]


def test_directions_are_not_mixed_up(told):
    trail, backlog = told
    trail.received(SCANNER, STUDY, PATIENT)
    trail.received(SCANNER, STUDY, PATIENT, pulled=True)
    trail.sent(SCANNER, STUDY, PATIENT)
    roles = [
        {
            role.get("csd-code"): (each.get("AlternativeUserID"), each.get("UserIsRequestor"))
            for each in parsed(record.xml).iter("ActiveParticipant")
            for role in each
        }
        for record in backlog.records
    ]
    us, them = "AETITLES=CLEARSLICE", "AETITLES=CT1"
    assert roles == [
        {"110153": (them, "true"), "110152": (us, "false")},
        {"110153": (them, "false"), "110152": (us, "true")},
        {"110153": (us, "true"), "110152": (them, "false")},
    ]


def test_a_defect_of_the_trail_does_not_reach_the_work(told):
    trail, backlog = told
    with structlog.testing.capture_logs() as logs:
        trail.received(SCANNER, STUDY, None)
    assert backlog.records == []
    assert [line["event"] for line in logs] == ["defect"]
    assert "Doe" not in str(logs)


def test_without_a_trail_nothing_happens():
    trail = no_trail()
    for call, *_ in CALLS.values():
        call(trail)
    trail.close()
    open_trail(None, "CLEARSLICE").started()


def test_a_source_and_site_may_be_named(told):
    _, backlog = told
    Trail("CLEARSLICE", backlog, lambda: NOON, source=Source(id="ct-2", site="North")).started()
    (record,) = backlog.records
    source = parsed(record.xml).find("AuditSourceIdentification")
    assert source.attrib == {"AuditSourceID": "ct-2", "AuditEnterpriseSiteID": "North"}


def test_a_configured_file_holds_all_after_close(tmp_path):
    trail = open_trail(Audit(file=tmp_path / "audit.log", site="North"), "CLEARSLICE")
    trail.started()
    trail.received(SCANNER, STUDY, PATIENT)
    trail.stopped()
    trail.close()
    lines = (tmp_path / "audit.log").read_bytes().splitlines()
    events = [parsed(line).find(".//EventID").get("originalText") for line in lines]
    assert events == ["Application Activity", "DICOM Instances Transferred", "Application Activity"]


def test_a_configured_collector_gets_all_before_close_ends(collect, certificates):
    collector = collect(context=certificates.server())
    trail = open_trail(Audit(syslog=f"tls://127.0.0.1:{collector.port}", tls=certificates.node), "CLEARSLICE")
    trail.started()
    trail.stopped()
    trail.close()
    got = [collector.got.get(timeout=20) for _ in range(2)]
    assert [b"110120" in got[0], b"110121" in got[1]] == [True, True]

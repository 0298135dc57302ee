"""Audit messages against PS3.15 A.5: the schema, and the tables of each message."""

from __future__ import annotations

import base64
import datetime as dt
import re
from collections import Counter
from xml.etree import ElementTree as ET

import pytest
from pydicom.sr.codedict import codes as dictionary

from service.pacs.audit import codes, messages
from service.pacs.audit.codes import Code, Outcome
from service.pacs.audit.facts import Header, Party, Patient, Source, Study, Transfer

CT, ENHANCED = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1"
WHEN = dt.datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=dt.timezone(dt.timedelta(hours=2)))
HEADER = Header(source=Source(id="CLEARSLICE", site="Example Hospital"), when=WHEN)
NODE = Party(user="4711", aet="CLEARSLICE", host="ct.example.org", name="clearslice")
SCANNER = Party(user="CT1", aet="CT1", host="10.1.2.3")
ARCHIVE = Party(user="ARCHIVE", aet="ARCHIVE", host="fd00::7")
STUDY = Study(uid="1.2.3.4", instances=((CT, 120), (ENHANCED, 1)), accession="A-17")
PATIENT = Patient(id="4-5-6", name="Müller^Jörg=ミュラー^ヨルク")
RECEIVED = Transfer(source=SCANNER, destination=NODE, study=STUDY, patient=PATIENT, encrypted=True)
SENT = Transfer(source=NODE, destination=ARCHIVE, study=STUDY, patient=PATIENT, anonymized=False)
URL = "https://pacs.example.org/dicom-web/studies?PatientID=4-5-6&limit=1"

EVENTS = {
    "start": lambda header: messages.application_activity(header, NODE, running=True),
    "stop": lambda header: messages.application_activity(header, NODE, running=False),
    "begin": lambda header: messages.begin_transferring(header, SENT),
    "received": lambda header: messages.instances_transferred(header, RECEIVED, action="C"),
    "sent": lambda header: messages.instances_transferred(header, SENT, action="R"),
    "query": lambda header: messages.query(header, NODE, Party(user=URL, host=URL), URL),
    "alert": lambda header: messages.security_alert(header, NODE, SCANNER, "calling AE title not known"),
}


def parsed(record):
    return ET.fromstring(record.xml)  # noqa: S314 - we wrote it


def tree(name, **changes):
    return parsed(EVENTS[name](Header(**{**vars(HEADER), **changes})))


def code(element):
    return element.get("csd-code"), element.get("codeSystemName"), element.get("originalText")


# Of each element: children in order with the least and the most of each; attributes, of which ? marks optional ones.
CODED = ({}, {"csd-code": r".+", "codeSystemName": r".+", "displayName?": r".*", "originalText": r".+"})
UID = r"[0-2](\.(0|[1-9]\d*))+"
SCHEMA = {
    "AuditMessage": (
        {
            "EventIdentification": (1, 1),
            "ActiveParticipant": (1, 99),
            "AuditSourceIdentification": (1, 1),
            "ParticipantObjectIdentification": (0, 99),
        },
        {},
    ),
    "EventIdentification": (
        {"EventID": (1, 1), "EventTypeCode": (0, 99), "EventOutcomeDescription": (0, 1)},
        {
            "EventActionCode?": "[CRUDE]",
            "EventDateTime": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)",
            "EventOutcomeIndicator": "0|4|8|12",
        },
    ),
    "EventID": CODED,
    "EventTypeCode": CODED,
    "RoleIDCode": CODED,
    "ParticipantObjectIDTypeCode": CODED,
    "ActiveParticipant": (
        {"RoleIDCode": (0, 99), "MediaIdentifier": (0, 1)},
        {
            "UserID": r".*",
            "AlternativeUserID?": r".*",
            "UserName?": r".*",
            "UserIsRequestor": "true|false",
            "NetworkAccessPointID?": r".+",
            "NetworkAccessPointTypeCode?": "[1-5]",
        },
    ),
    "AuditSourceIdentification": (
        {"AuditSourceTypeCode": (0, 99)},
        {"AuditEnterpriseSiteID?": r".*", "AuditSourceID": r".*"},
    ),
    "AuditSourceTypeCode": ({}, {"csd-code": "[1-9]"}),
    "ParticipantObjectIdentification": (
        {
            "ParticipantObjectIDTypeCode": (1, 1),
            "ParticipantObjectName": (0, 1),
            "ParticipantObjectQuery": (0, 1),
            "ParticipantObjectDetail": (0, 99),
            "ParticipantObjectDescription": (0, 99),
        },
        {
            "ParticipantObjectID": r".*",
            "ParticipantObjectTypeCode?": "[1-4]",
            "ParticipantObjectTypeCodeRole?": r"[1-9]|1\d|2[0-6]",
            "ParticipantObjectDataLifeCycle?": r"[1-9]|1[0-5]",
            "ParticipantObjectSensitivity?": r".*",
        },
    ),
    "ParticipantObjectDetail": ({}, {"type": r".+", "value": r"[A-Za-z0-9+/]*={0,2}"}),
    "ParticipantObjectDescription": (
        {"MPPS": (0, 99), "Accession": (0, 99), "SOPClass": (0, 99), "Encrypted": (0, 1), "Anonymized": (0, 1)},
        {},
    ),
    "Accession": ({}, {"Number": r".*"}),
    "SOPClass": ({"Instance": (0, 99)}, {"UID?": UID, "NumberOfInstances": r"\d+"}),
    **dict.fromkeys(
        ("EventOutcomeDescription", "ParticipantObjectName", "ParticipantObjectQuery", "Encrypted", "Anonymized"),
        ({}, {}),
    ),
}


def assert_valid(element):
    """That the element is as the schema of PS3.15 A.5.1.1 says, and so on downwards."""
    children, attributes = SCHEMA[element.tag]
    names = [child.tag for child in element]
    assert names == [name for name in children for _ in range(names.count(name))], element.tag
    counts = Counter(names)
    assert all(least <= counts[name] <= most for name, (least, most) in children.items()), element.tag
    required = {name for name in attributes if not name.endswith("?")}
    allowed = {name.rstrip("?"): pattern for name, pattern in attributes.items()}
    assert required <= set(element.attrib) <= set(allowed), element.tag
    assert all(re.fullmatch(allowed[name], value, re.DOTALL) for name, value in element.attrib.items()), element.attrib
    if element.tag == "ParticipantObjectIdentification":
        assert counts["ParticipantObjectName"] + counts["ParticipantObjectQuery"] == 1
    for child in element:
        assert_valid(child)


@pytest.mark.parametrize("name", EVENTS)
@pytest.mark.parametrize("outcome", Outcome)
def test_messages_follow_the_schema(name, outcome):
    root = tree(name, outcome=outcome, reason="because" if outcome else "")
    assert_valid(root)
    event = root.find("EventIdentification")
    assert event.get("EventOutcomeIndicator") == str(int(outcome))
    assert event.get("EventDateTime") == "2026-03-04T05:06:07.890+02:00"
    assert event.findtext("EventOutcomeDescription") == ("because" if outcome else None)
    source = root.find("AuditSourceIdentification")
    assert source.attrib == {"AuditEnterpriseSiteID": "Example Hospital", "AuditSourceID": "CLEARSLICE"}
    assert source.find("AuditSourceTypeCode").attrib == {"csd-code": "4"}


@pytest.mark.parametrize("name", EVENTS)
def test_messages_are_one_line_of_utf_8(name):
    xml = EVENTS[name](HEADER).xml
    assert xml.startswith(b'<?xml version="1.0" encoding="UTF-8"?><AuditMessage>')
    assert b"\n" not in xml
    assert xml.decode("utf-8")


@pytest.mark.parametrize(
    ("name", "event", "kind", "action"),
    [
        ("start", "110100", "110120", "E"),
        ("stop", "110100", "110121", "E"),
        ("begin", "110102", None, "E"),
        ("received", "110104", None, "C"),
        ("sent", "110104", None, "R"),
        ("query", "110112", None, "E"),
        ("alert", "110113", "110126", "E"),
    ],
)
def test_events_are_the_standards(name, event, kind, action):
    told = tree(name).find("EventIdentification")
    assert told.find("EventID").get("csd-code") == event
    found = told.find("EventTypeCode")
    assert (None if found is None else found.get("csd-code")) == kind
    assert told.get("EventActionCode") == action


def test_codes_mean_what_the_dictionary_says():
    ours = [value for value in vars(codes).values() if isinstance(value, Code) and value.system == "DCM"]
    listed = [getattr(dictionary.DCM, name) for name in dictionary.DCM.dir()]
    meanings = {entry.value: entry.meaning for entry in listed}
    assert len(ours) == 13
    assert {one.value: one.meaning for one in ours} == {one.value: meanings[one.value] for one in ours}


def participants(root):
    return [
        (
            one.get("UserID"),
            one.get("AlternativeUserID"),
            one.get("UserIsRequestor"),
            (one.get("NetworkAccessPointID"), one.get("NetworkAccessPointTypeCode")),
            [role.get("csd-code") for role in one],
        )
        for one in root.iter("ActiveParticipant")
    ]


US = ("4711", "AETITLES=CLEARSLICE", ("ct.example.org", "1"))
SCANNED = ("CT1", "AETITLES=CT1", ("10.1.2.3", "2"))
ARCHIVED = ("ARCHIVE", "AETITLES=ARCHIVE", ("fd00::7", "2"))


def one(who, requestor, *roles):
    return (*who[:2], requestor, who[2], list(roles))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("start", [one(US, "false", "110150")]),
        ("received", [one(SCANNED, "true", "110153"), one(US, "false", "110152")]),
        ("sent", [one(US, "true", "110153"), one(ARCHIVED, "false", "110152")]),
        ("begin", [one(US, "true", "110153"), one(ARCHIVED, "false", "110152")]),
        ("query", [one(US, "true", "110153"), one((URL, None, (URL, "5")), "false", "110152")]),
        ("alert", [one(US, "false"), one(SCANNED, "false")]),
    ],
)
def test_participants_are_as_the_tables_say(name, expected):
    assert participants(tree(name)) == expected


def test_who_fetches_is_the_requestor():
    pulled = Transfer(**{**vars(RECEIVED), "pulled": True})
    root = parsed(messages.instances_transferred(HEADER, pulled, action="C"))
    assert [requestor for _, _, requestor, _, _ in participants(root)] == ["false", "true"]


def objects(root):
    names = ("ParticipantObjectTypeCode", "ParticipantObjectTypeCodeRole", "ParticipantObjectID")
    return [
        (code(found.find("ParticipantObjectIDTypeCode")), *(found.get(name) for name in names))
        for found in root.iter("ParticipantObjectIdentification")
    ]


def test_a_transfer_names_study_and_patient():
    root = tree("received")
    assert objects(root) == [
        (("110180", "DCM", "Study Instance UID"), "2", "3", "1.2.3.4"),
        (("2", "RFC-3881", "Patient Number"), "1", "1", "4-5-6"),
    ]
    study, patient = root.iter("ParticipantObjectIdentification")
    described = [(found.tag, found.attrib, found.text) for found in study.find("ParticipantObjectDescription")]
    assert described == [
        ("Accession", {"Number": "A-17"}, None),
        ("SOPClass", {"UID": CT, "NumberOfInstances": "120"}, None),
        ("SOPClass", {"UID": ENHANCED, "NumberOfInstances": "1"}, None),
        ("Encrypted", {}, "true"),
    ]
    assert patient.findtext("ParticipantObjectName") == PATIENT.name
    assert tree("sent").findtext(".//Anonymized") == "false"


def test_what_is_not_known_is_left_out():
    bare = Transfer(
        source=Party(user="x"),
        destination=NODE,
        study=Study(uid="1.2", instances=((CT, 1),)),
        patient=Patient(id=""),
    )
    root = parsed(messages.begin_transferring(Header(source=Source(id="X"), when=WHEN), bare))
    assert_valid(root)
    assert participants(root)[0] == ("x", None, "true", (None, None), ["110153"])
    assert root.find("AuditSourceIdentification").attrib == {"AuditSourceID": "X"}
    assert [found.tag for found in root.find(".//ParticipantObjectDescription")] == ["SOPClass"]


def test_a_query_is_told_in_the_format_of_its_protocol():
    root = tree("query")
    assert objects(root) == [(("12", "RFC-3881", "URI"), "2", "3", "https://pacs.example.org/dicom-web/studies")]
    assert base64.b64decode(root.findtext(".//ParticipantObjectQuery")).decode() == URL


def test_an_alert_names_the_node_and_says_why():
    root = tree("alert")
    assert objects(root) == [(("110182", "DCM", "Node ID"), "2", "13", "10.1.2.3")]
    detail = root.find(".//ParticipantObjectDetail")
    assert (detail.get("type"), base64.b64decode(detail.get("value"))) == (
        "Alert Description",
        b"calling AE title not known",
    )


def test_nothing_half_valid_can_be_built():
    with pytest.raises(ValueError, match="time zone"):
        Header(source=Source(id="X"), when=WHEN.replace(tzinfo=None))
    for instances in ((), ((CT, -1),)):
        with pytest.raises(ValueError, match="SOP classes"):
            Study(uid="1.2", instances=instances)

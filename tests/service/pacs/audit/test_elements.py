"""Texts in audit messages: whatever a name holds, the XML is well-formed, one line, and says the same."""

from __future__ import annotations

import base64
import datetime as dt
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.pacs.audit import messages
from service.pacs.audit.elements import LONGEST, network_access
from service.pacs.audit.facts import Header, Party, Patient, Source, Study, Transfer

HEADER = Header(source=Source(id="CLEARSLICE"), when=dt.datetime(2026, 3, 4, tzinfo=dt.UTC))
NODE = Party(user="4711", aet="CLEARSLICE")


def parsed(record):
    return ET.fromstring(record.xml)  # noqa: S314 - we wrote it


def told_name(name):
    study = Study(uid="1.2.3.4", instances=(("1.2.840.10008.5.1.4.1.1.2", 1),))
    transfer = Transfer(source=NODE, destination=NODE, study=study, patient=Patient(id=name, name=name))
    record = messages.instances_transferred(HEADER, transfer, action="C")
    assert b"\n" not in record.xml
    *_, patient = parsed(record).iter("ParticipantObjectIdentification")
    return patient.get("ParticipantObjectID"), patient.findtext("ParticipantObjectName")


def allowed(character):
    """Char of XML 1.0, section 2.2, written out."""
    point = ord(character)
    ranges = ((0x20, 0xD7FF), (0xE000, 0xFFFD), (0x10000, 0x10FFFF))
    return point in (0x9, 0xA, 0xD) or any(low <= point <= high for low, high in ranges)


@given(st.text(st.characters(), max_size=300))
@example("\x1b$B;3ED\x1b(B^\x00")
@example("a\r\nb\rc\nd\te")
@example("]]><!--&amp;\"' <?xml?>")
@example("\ud800\udfff\ufffe\uffff\x85\u2028")
def test_any_name_comes_back_but_for_what_xml_forbids(name):
    expected = "".join(character if allowed(character) else "\ufffd" for character in name)
    assert told_name(name) == (expected, expected)


@given(st.text(st.sampled_from("\x00\x1b\ud800\r\n\t<&]>é\U0001f9ea"), max_size=50))
def test_names_of_awkward_characters_come_back_too(name):
    expected = "".join(character if allowed(character) else "\ufffd" for character in name)
    assert told_name(name) == (expected, expected)


def test_long_texts_are_cut_and_say_so():
    whole, cut = "x" * LONGEST, "x" * (LONGEST + 1)
    assert told_name(whole) == (whole, whole)
    assert told_name(cut) == ("x" * (LONGEST - 1) + "…",) * 2
    root = parsed(messages.security_alert(HEADER, NODE, NODE, "ä" * 5000))
    assert base64.b64decode(root.find(".//ParticipantObjectDetail").get("value")).decode()[-2:] == "ä…"


@pytest.mark.parametrize(
    ("host", "kind"),
    [("10.1.2.3", "2"), ("fd00::7", "2"), ("ct1.example.org", "1"), ("https://pacs/studies", "5"), ("999.1.1.1", "1")],
)
def test_places_have_their_kind(host, kind):
    assert network_access(host) == {"NetworkAccessPointID": host, "NetworkAccessPointTypeCode": kind}


def test_nowhere_is_left_out():
    assert network_access("") == {}

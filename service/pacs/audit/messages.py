"""Audit messages: what happened, as XML (PS3.15 A.5.3); pure.

    Header: when, told by whom, how it ended --+
    Party, Transfer ---------------------------+--> Record: an AuditMessage, UTF-8, on one line

Of what succeeded in part, one message tells what succeeded and another what failed (PS3.15 A.5.2). There is no Import
or Export (A.5.3.4, A.5.3.5) here: these are about media, and this node has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from xml.etree.ElementTree import Element

from service.pacs.audit import codes
from service.pacs.audit.codes import Code
from service.pacs.audit.elements import base64_of, document, network_access, put, put_code
from service.pacs.audit.facts import Header, Party, Patient, Record, Study, Transfer

_APPLICATION_SERVER = "4"
"""AuditSourceTypeCode (PS3.15 A.5.1.2.1)."""

_PERSON, _SYSTEM_OBJECT = "1", "2"
"""ParticipantObjectTypeCode."""

_PATIENT, _REPORT, _SECURITY_RESOURCE = "1", "3", "13"
"""ParticipantObjectTypeCodeRole (PS3.15 A.5.1.2.2); studies and queries are reports."""

_STUDY = "Study"
"""The schema wants a name of every object that has no query; the tables of the messages leave it open."""


@dataclass(frozen=True, kw_only=True)
class _Event:
    id: Code
    action: Literal["C", "R", "U", "E"] = "E"
    kind: Code | None = None


@dataclass(frozen=True)
class _Role:
    party: Party
    code: Code | None = None
    requestor: bool = False


def application_activity(header: Header, application: Party, *, running: bool) -> Record:
    """The application started (`running`) or stopped (A.5.3.1)."""
    kind = codes.APPLICATION_START if running else codes.APPLICATION_STOP
    return _record(
        header, _Event(id=codes.APPLICATION_ACTIVITY, kind=kind), _Role(application, codes.APPLICATION), objects=[]
    )


def begin_transferring(header: Header, transfer: Transfer) -> Record:
    """Instances are about to be sent (A.5.3.3)."""
    return _transfer(header, _Event(id=codes.BEGIN_TRANSFERRING), transfer)


def instances_transferred(header: Header, transfer: Transfer, *, action: Literal["C", "R", "U"]) -> Record:
    """Instances were sent, or were to be (A.5.3.7).

    Args:
        header, transfer: of it.
        action: C: the destination did not have them; R: it had them, or we are not the destination and do not know;
            U: it changed what it had.
    """
    return _transfer(header, _Event(id=codes.INSTANCES_TRANSFERRED, action=action), transfer)


def query(header: Header, asker: Party, answerer: Party, url: str) -> Record:
    """A DICOMweb service was asked (A.5.3.10).

    The table names fields for DICOM queries, and says of others that the query is in the format of its protocol: here
    the URL. The object is the resource, which is the URL without its query.
    """
    asked = _object(codes.URI, url.partition("?")[0], kind=_SYSTEM_OBJECT, role=_REPORT)
    put(asked, "ParticipantObjectQuery").text = base64_of(url)
    return _record(
        header,
        _Event(id=codes.QUERY),
        _Role(asker, codes.SOURCE, requestor=True),
        _Role(answerer, codes.DESTINATION),
        objects=[asked],
    )


def security_alert(header: Header, reporter: Party, caller: Party, description: str) -> Record:
    """A caller was not let in: Node Authentication (A.5.3.11)."""
    subject = _object(codes.NODE_ID, caller.host or caller.user, kind=_SYSTEM_OBJECT, role=_SECURITY_RESOURCE)
    put(subject, "ParticipantObjectName", text=caller.aet or caller.user)
    put(subject, "ParticipantObjectDetail", {"type": "Alert Description"}).set("value", base64_of(description))
    event = _Event(id=codes.SECURITY_ALERT, kind=codes.NODE_AUTHENTICATION)
    return _record(header, event, _Role(reporter), _Role(caller), objects=[subject])


def _transfer(header: Header, event: _Event, transfer: Transfer) -> Record:
    return _record(
        header,
        event,
        _Role(transfer.source, codes.SOURCE, requestor=not transfer.pulled),
        _Role(transfer.destination, codes.DESTINATION, requestor=transfer.pulled),
        objects=[_study(transfer.study, transfer), _patient(transfer.patient)],
    )


def _record(header: Header, event: _Event, *roles: _Role, objects: list[Element]) -> Record:
    root = Element("AuditMessage")
    _identify(root, header, event)
    for role in roles:
        _participate(root, role)
    site = {"AuditEnterpriseSiteID": header.source.site} if header.source.site else {}
    source = put(root, "AuditSourceIdentification", {**site, "AuditSourceID": header.source.id})
    put(source, "AuditSourceTypeCode", {"csd-code": _APPLICATION_SERVER})
    root.extend(objects)
    return Record(document(root), header.when, header.outcome)


def _identify(root: Element, header: Header, event: _Event) -> None:
    attributes = {
        "EventActionCode": event.action,
        "EventDateTime": header.when.isoformat(timespec="milliseconds"),
        "EventOutcomeIndicator": str(header.outcome.value),
    }
    identification = put(root, "EventIdentification", attributes)
    put_code(identification, "EventID", event.id)
    if event.kind is not None:
        put_code(identification, "EventTypeCode", event.kind)
    if header.reason:
        put(identification, "EventOutcomeDescription", text=header.reason)


def _participate(root: Element, role: _Role) -> None:
    party = role.party
    attributes = {"UserID": party.user}
    if party.aet:
        attributes["AlternativeUserID"] = f"AETITLES={party.aet}"
    if party.name:
        attributes["UserName"] = party.name
    attributes["UserIsRequestor"] = _truth(role.requestor)
    participant = put(root, "ActiveParticipant", {**attributes, **network_access(party.host)})
    if role.code is not None:
        put_code(participant, "RoleIDCode", role.code)


def _object(id_type: Code, identity: str, *, kind: str, role: str) -> Element:
    made = put(
        Element("_"),
        "ParticipantObjectIdentification",
        {
            "ParticipantObjectID": identity,
            "ParticipantObjectTypeCode": kind,
            "ParticipantObjectTypeCodeRole": role,
        },
    )
    put_code(made, "ParticipantObjectIDTypeCode", id_type)
    return made


def _study(study: Study, transfer: Transfer) -> Element:
    made = _object(codes.STUDY_INSTANCE_UID, study.uid, kind=_SYSTEM_OBJECT, role=_REPORT)
    put(made, "ParticipantObjectName", text=_STUDY)
    description = put(made, "ParticipantObjectDescription")
    if study.accession:
        put(description, "Accession", {"Number": study.accession})
    for sop_class, count in study.instances:
        put(description, "SOPClass", {"UID": sop_class, "NumberOfInstances": str(count)})
    for name, value in (("Encrypted", transfer.encrypted), ("Anonymized", transfer.anonymized)):
        if value is not None:
            put(description, name, text=_truth(value))
    return made


def _patient(patient: Patient) -> Element:
    made = _object(codes.PATIENT_NUMBER, patient.id, kind=_PERSON, role=_PATIENT)
    put(made, "ParticipantObjectName", text=patient.name)
    return made


def _truth(value: bool) -> str:  # noqa: FBT001 - the value is what is written
    return "true" if value else "false"

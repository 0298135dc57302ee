"""A derived instance without the patient: PS3.15 annex E, Basic Application Level Confidentiality Profile.

    file --elements--> each, at any depth, by `basic_profile` --+--> PatientIdentityRemoved, method --> file
    secret --HMAC--> other UIDs, one for each, and a pseudonym -+

One secret gives the same UIDs and pseudonyms for all instances, so that studies, series, frames of reference and every
reference between instances stay linked, also those from the derived instances to their sources, if these go the same
way. Without the secret nothing leads back. Whoever has it can find out which UID became which, so it is kept like one.

What stays are the pixels: a head can be recognised from its slices, and text may be burned in (BurnedInAnnotation).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from pydicom.datadict import dictionary_VR

from service.dicom.basic_profile import DUMMIES, DUMMY_VALUES, EMPTIED, KEPT, UIDS
from service.dicom.elements import (
    Element,
    File,
    items_of,
    read_file,
    replaced,
    sequence,
    text_element,
    write_file,
)
from service.dicom.identity import MANUFACTURER, device_uid, program_version

MIN_SECRET_BYTES = 16
"""Below that a pseudonym could be undone by trying all secrets."""

PROFILE = ("113100", "Basic Application Confidentiality Profile")
"""Of CID 7050 (DCM)."""

STANDARD_UIDS = b"1.2.840.10008."
"""Root of the UIDs that the standard defines: they identify nobody, and other ones would mean nothing."""

_LONG_STRING = 64
_PATIENT_NAME, _PATIENT_ID, _ISSUER, _STUDY_UID = 0x00100010, 0x00100020, 0x00100021, 0x0020000D
_CONTRIBUTORS, _SERIAL_NUMBER, _DEVICE_UID = 0x0018A001, 0x00181000, 0x00181002
_META_INSTANCE_UID = 0x00020003
_META_KEPT = frozenset({0x00020001, 0x00020002, 0x00020003, 0x00020010, 0x00020012, 0x00020013})
"""Version, class, instance, transfer syntax and implementation; not the titles of who sent or got the file."""

_CHARACTERS = {
    "CS": re.compile(rb"[A-Z0-9_ \\]*\0?"),
    "DS": re.compile(rb"[0-9eE+. \\-]*\0?"),
    "IS": re.compile(rb"[0-9+ \\-]*\0?"),
}
"""Those that values of a VR may have (PS3.5 6.2), and a zero as padding, which some writers use."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_PADDING = b"\0 "


def deidentified(data: bytes, secret: bytes) -> bytes:
    """A derived instance that names no patient, person, place or date.

    Args:
        data: as `write_instance` gives it, not compressed.
        secret: of the site, at least `MIN_SECRET_BYTES`; the same for all that shall stay linked.

    Returns:
        A file of the same class and pixels, with other UIDs; the same bytes for the same input.

    Raises:
        ValueError: `data` is no file of a derived instance, or the secret is too short.
    """
    if len(secret) < MIN_SECRET_BYTES:
        raise ValueError(f"the secret has {len(secret)} bytes, and at least {MIN_SECRET_BYTES} are needed")
    file = read_file(data)
    work = _Deidentification(secret, _of_this_program(file))
    pseudonym = work.pseudonym(file)
    elements = replaced(
        work.cleaned(file.elements),
        text_element(_PATIENT_NAME, "PN", pseudonym),
        text_element(_PATIENT_ID, "LO", pseudonym),
        *_statement(),
    )
    meta = [one for one in file.meta if one.tag in _META_KEPT]
    meta = [work.other_uids(one) if one.tag == _META_INSTANCE_UID else one for one in meta]
    return write_file(File(tuple(meta), elements))


@dataclass(frozen=True)
class _Deidentification:
    """The rules of one run.

    Attributes:
        secret: of the site.
        ours: values of DeviceSerialNumber and DeviceUID that stay, since they mean this program and no device.
    """

    secret: bytes
    ours: frozenset[bytes]

    def cleaned(self, elements: Iterable[Element]) -> tuple[Element, ...]:
        """What becomes of the elements of a data set or item."""
        found = [self._cleaned(element) for element in elements]
        return tuple(element for element in found if element is not None)

    def _cleaned(self, element: Element) -> Element | None:
        tag = element.tag
        if tag in EMPTIED:
            return Element(tag, dictionary_VR(tag), b"")
        if tag not in DUMMIES | UIDS | KEPT or not _has_its_vr(element):
            return None
        if element.vr == "SQ":
            return sequence(tag, [self.cleaned(item) for item in items_of(element)])
        if tag in KEPT or not element.value or element.value.rstrip(_PADDING) in self.ours:
            return element
        return self.other_uids(element) if tag in UIDS else text_element(tag, element.vr, DUMMY_VALUES[element.vr])

    def other_uids(self, element: Element) -> Element:
        """The element with another UID for each of its values; those of the standard stay."""
        values = (value.strip(_PADDING) for value in element.value.split(b"\\"))
        return text_element(element.tag, "UI", "\\".join(self._other_uid(value) for value in values))

    def _other_uid(self, uid: bytes) -> str:
        if not uid:
            return ""
        if uid.startswith(STANDARD_UIDS):
            return uid.decode("ascii")
        return f"2.25.{uuid.UUID(bytes=self._digest(b'uid', uid)[:16], version=5).int}"

    def pseudonym(self, file: File) -> str:
        """One for each patient; where the instance has no PatientID, one for each study."""
        patient, issuer, study = (_value(file, tag) for tag in (_PATIENT_ID, _ISSUER, _STUDY_UID))
        digest = self._digest(b"patient", patient, issuer) if patient else self._digest(b"study", study)
        return digest[:16].hex().upper()

    def _digest(self, kind: bytes, *parts: bytes) -> bytes:
        # a line break cannot be part of a value, so that no two lists of parts are alike
        return hmac.digest(self.secret, b"\n".join((kind, *parts)), hashlib.sha256)


def _has_its_vr(element: Element) -> bool:
    """Whether it has the VR that the standard gives it, and its characters: free text passes for no number or code."""
    allowed = _CHARACTERS.get(element.vr)
    fits = allowed is None or allowed.fullmatch(element.value) is not None
    return fits and element.vr in dictionary_VR(element.tag).split(" or ")


def _of_this_program(file: File) -> frozenset[bytes]:
    """Serial numbers and device UIDs in ContributingEquipmentSequence by which this program knows its own work.

    Its serial number is the digest of the model's weights, and its DeviceUID follows from that.
    """
    contributors = file.get(_CONTRIBUTORS)
    found = set()
    for item in [] if contributors is None else items_of(contributors):
        values = {one.tag: one.value.rstrip(_PADDING) for one in item if one.tag in (_SERIAL_NUMBER, _DEVICE_UID)}
        serial, device = values.get(_SERIAL_NUMBER, b""), values.get(_DEVICE_UID, b"")
        digest = serial.decode("ascii", "replace")
        if _DIGEST.fullmatch(digest) and device_uid(digest).encode("ascii") == device:
            found |= {serial, device}
    return frozenset(found)


def _statement() -> list[Element]:
    """That, and how, the instance was de-identified (PS3.15 E.1.1)."""
    code = (
        text_element(0x00080100, "SH", PROFILE[0]),
        text_element(0x00080102, "SH", "DCM"),
        text_element(0x00080104, "LO", PROFILE[1]),
    )
    method = f"{PROFILE[1]}, {MANUFACTURER.lower()} {program_version()}"
    return [
        text_element(0x00120062, "CS", "YES"),
        text_element(0x00120063, "LO", method[:_LONG_STRING]),
        sequence(0x00120064, [code]),
        text_element(0x00280303, "CS", "REMOVED"),
    ]


def _value(file: File, tag: int) -> bytes:
    element = file.get(tag)
    return b"" if element is None else element.value.strip(_PADDING)

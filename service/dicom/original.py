"""Text of the source instance, byte for byte, put back into what is written.

    source.raw_values: tag -> bytes --with_original_text--> derived, unchanged texts as they came

pydicom decodes text and encodes it again, which loses bytes that the declared character set does not have, other escape
sequences, and spaces at the end. Archives compare identities by their bytes, so texts that did not change keep theirs.
Texts inside of sequences are encoded anew.
"""

from __future__ import annotations

from pydicom import Dataset
from pydicom.dataelem import RawDataElement

from imaging.dicom_file import SourceInstance

TEXT_VRS = frozenset(
    {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
)


def with_original_text(derived: Dataset, source: SourceInstance) -> None:
    """Replaces, in place, each text element of `derived` that equals the source's by the bytes of the source's file.

    Afterwards `derived` is to be written in Explicit VR Little Endian; reading its elements converts them again.
    """
    for tag, element in list(derived.items()):
        raw = source.raw_values.get(tag)
        if raw is None or element.VR not in TEXT_VRS or element.value != source[tag].value:
            continue
        value = raw + (b"\0" if element.VR == "UI" else b" ") * (len(raw) % 2)
        derived[tag] = RawDataElement(
            tag=element.tag,
            VR=element.VR,
            length=len(value),
            value=value,
            value_tell=0,
            is_implicit_VR=False,
            is_little_endian=True,
        )
    _take_as_written(derived)


def _take_as_written(derived: Dataset) -> None:
    """So that pydicom writes bytes as they are, instead of converting and searching all items for ambiguous VRs again.

    `kept_elements` has settled all VRs.
    """
    pending = [derived]
    while pending:
        dataset = pending.pop()
        charset = dataset._character_set  # noqa: SLF001 - pydicom has no public name for what it will encode with
        dataset.set_original_encoding(is_implicit_vr=False, is_little_endian=True, character_encoding=charset)
        for element in dataset.values():
            if element.VR == "SQ":
                pending.extend(element.value)

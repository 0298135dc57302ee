"""Text of the source instance, byte for byte, for what is written.

    source.raw_values: tag -> bytes --original_text--> of the texts that did not change, as they came

pydicom decodes text and encodes it again, which loses bytes that the declared character set does not have, other escape
sequences, and spaces at the end. Archives compare identities by their bytes, so texts that did not change keep theirs.
Texts inside of sequences are encoded anew.
"""

from __future__ import annotations

from pydicom import Dataset
from pydicom.tag import BaseTag

from imaging.dicom_file import SourceInstance

TEXT_VRS = frozenset(
    {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
)


def original_text(derived: Dataset, source: SourceInstance) -> dict[BaseTag, bytes]:
    """Tag -> bytes as the source's file has them, of even length, of each text that is the same in `derived`."""
    found = {}
    for tag, element in derived.items():
        raw = source.raw_values.get(tag)
        if raw is not None and element.VR in TEXT_VRS and element.value == source[tag].value:
            found[tag] = raw + (b"\0" if element.VR == "UI" else b" ") * (len(raw) % 2)
    return found

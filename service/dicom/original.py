"""Text of the source instance, byte for byte, put back into what is written.

    file --raw_values--> tag -> bytes --with_original_text(derived, source)--> derived, unchanged texts as they came

pydicom decodes text and encodes it again, which loses bytes that the declared character set does not have, other escape
sequences, and spaces at the end. Archives compare identities by their bytes, so texts that did not change keep theirs.
Texts inside of sequences are encoded anew.
"""

from __future__ import annotations

import io

from pydicom import Dataset, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag

from imaging.dicom_file import pydicom_guard

TEXT_VRS = frozenset(
    {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
)


def raw_values(data: bytes) -> dict[BaseTag, bytes]:
    """The values of the top level of a DICOM file that `imaging.dicom_file.read_dicom` has read before, unconverted.

    Raises:
        NotAnImage: it cannot be read.
    """
    with pydicom_guard("the DICOM file cannot be read again"):
        dataset = dcmread(io.BytesIO(data), stop_before_pixels=True)
        raw = (dataset.get_item(tag) for tag in dataset.keys())  # noqa: SIM118 - iterating would convert every element
        return {
            element.tag: element.value
            for element in raw
            if isinstance(element, RawDataElement) and isinstance(element.value, bytes)
        }


def with_original_text(derived: Dataset, source: Dataset, raw: dict[BaseTag, bytes]) -> None:
    """Replaces, in place, each text element of `derived` that equals the source's by the bytes of the source's file.

    Afterwards `derived` is to be written in Explicit VR Little Endian; reading its elements converts them again.
    """
    for tag in list(derived.keys()):
        element = derived[tag]
        if element.VR not in TEXT_VRS or tag not in raw or tag not in source or element.value != source[tag].value:
            continue
        value = raw[tag] + (b"\0" if element.VR == "UI" else b" ") * (len(raw[tag]) % 2)
        derived[tag] = RawDataElement(
            tag=element.tag,
            VR=element.VR,
            length=len(value),
            value=value,
            value_tell=0,
            is_implicit_VR=False,
            is_little_endian=True,
        )
    # So that pydicom takes the bytes for its own and writes them as they are.
    charset = derived._character_set  # noqa: SLF001 - pydicom has no public name for what it will encode with
    derived.set_original_encoding(is_implicit_vr=False, is_little_endian=True, character_encoding=charset)

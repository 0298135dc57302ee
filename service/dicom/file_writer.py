"""A derived instance -> the bytes of its file: Explicit VR Little Endian, all lengths defined.

    Derived --elements in order--> unchanged text of the source? plain value? a sequence? --> head and value
                                   original_text                               else pydicom --> the whole element

pydicom writes all values, but looks at each with much more care than one needs that is ASCII, a number or bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from pydicom import DataElement, Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

from imaging.dicom_file import SourceInstance
from service.dicom.derived_instance import Derived
from service.dicom.elements import FILE_META_LENGTH, LONG_VRS, PREAMBLE, SHORT_MAX, Element, head, item, write_elements
from service.dicom.original import TEXT_VRS, original_text

_NUMBERS = {"US": "<H", "SS": "<h", "UL": "<I", "SL": "<i"}
_BYTES = frozenset({"OB", "OW", "OF", "OL", "OD", "OV", "UN"})


def write_instance(derived: Derived, source: SourceInstance) -> bytes:
    """The DICOM file of a derived instance: zero preamble, unchanged texts byte for byte.

    Args:
        derived: from `derive`; its file meta is complete but for its length.
        source: the source instance.
    """
    dataset = derived.dataset
    meta = b"".join(_encoded(dataset.file_meta, None, {}))
    length = write_elements([Element(FILE_META_LENGTH, "UL", struct.pack("<I", len(meta)))])
    return b"".join((PREAMBLE, length, meta, *_encoded(dataset, None, original_text(dataset, source))))


def _encoded(dataset: Dataset, charset: Any, unchanged: Mapping[BaseTag, bytes]) -> list[bytes]:
    """The elements of a data set; `charset` is that of what it is an item of."""
    charset = dataset.get("SpecificCharacterSet", charset)
    parts: list[bytes] = []
    for tag in sorted(dataset.keys(), key=int):
        element = dataset[tag]
        value = unchanged.get(tag)
        if value is None:
            value = _sequence(element, charset) if element.VR == "SQ" else _plain(element)
        if value is None or (len(value) > SHORT_MAX and element.VR not in LONG_VRS):
            parts.append(_by_pydicom(element, charset))
        else:
            parts += head(int(tag), element.VR, len(value)), value
    return parts


def _sequence(element: DataElement, charset: Any) -> bytes:
    return b"".join(item(b"".join(_encoded(one, charset, {}))) for one in element.value)


def _plain(element: DataElement) -> bytes | None:
    """A value of bytes, numbers or ASCII, with which each character set begins; None: pydicom must encode it."""
    vr, value = element.VR, element.value
    if value is None or value == "":
        return b""
    if vr in _BYTES and isinstance(value, bytes):
        return value if len(value) % 2 == 0 else None
    if vr in _NUMBERS and isinstance(value, int):
        return struct.pack(_NUMBERS[vr], value)
    if vr not in TEXT_VRS:
        return None
    values = value if isinstance(value, MultiValue) else (value,)
    if not all(isinstance(one, str) and one.isascii() for one in values):
        return None
    text = "\\".join(values).encode("ascii")
    return text + (b"\0" if vr == "UI" else b" ") * (len(text) % 2)


def _by_pydicom(element: DataElement, charset: Any) -> bytes:
    written = DicomBytesIO()
    written.is_implicit_VR, written.is_little_endian = False, True
    write_data_element(written, element, charset)
    return bytes(written.getvalue())

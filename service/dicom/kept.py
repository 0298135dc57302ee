"""The elements of a source instance that a derived one takes over, ready for Explicit VR Little Endian.

    source Dataset --(private? of the old pixels?)--> element --(big-endian words?)(VR known?)--> derived Dataset
                     left out                                    swapped           resolved

Every element is copied, because pydicom changes an element in place when its attribute is set.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
from pydicom import DataElement, Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.filewriter import correct_ambiguous_vr_element
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import ExplicitVRBigEndian

WORD_BYTES = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
"""Bytes per word of the VRs that pydicom keeps as the bytes of the file, in the file's byte order."""

NEVER_KEPT = frozenset(
    tag_for_keyword(keyword)
    for keyword in (
        "IconImageSequence",
        "ICCProfile",
        "ColorSpace",
        "MACParametersSequence",
        "DigitalSignaturesSequence",
        "EncryptedAttributesSequence",
        "DataSetTrailingPadding",
    )
)
"""At any depth: pictures of the old pixels, and proofs and secrets about the old instance."""

_FOREIGN_GROUPS = frozenset({0x0000, 0x0002, 0x0004, 0x7FE0})
"""Command, file meta, media directory, and pixel data with its offset tables: not for a derived data set."""


def is_removed(tag: BaseTag) -> bool:
    """Whether a derived instance never carries this element, at any depth."""
    group = tag.group
    overlay_or_curve = group & 0xFF00 in (0x6000, 0x5000)
    return group % 2 == 1 or overlay_or_curve or group in _FOREIGN_GROUPS or tag in NEVER_KEPT


def kept_elements(source: Dataset) -> Dataset:
    """A new data set with what `source` hands down, nested items included; `source` is not changed."""
    meta = getattr(source, "file_meta", None)
    big_endian = meta is not None and meta.get("TransferSyntaxUID") == ExplicitVRBigEndian
    return _kept(source, big_endian=big_endian, ancestors=[])


def _kept(source: Dataset, *, big_endian: bool, ancestors: list[Dataset]) -> Dataset:
    found = {}
    lineage = [source, *ancestors]
    for element in _plain_elements(source):
        if element.VR == "SQ":
            items = [_kept(item, big_endian=big_endian, ancestors=lineage) for item in element.value]
            found[element.tag] = DataElement(element.tag, "SQ", Sequence(items))
        else:
            readable = _readable(element, source, big_endian=big_endian, ancestors=ancestors)
            if readable is not None:
                found[element.tag] = readable
    return Dataset(found)


def _plain_elements(source: Dataset) -> Iterator[DataElement]:
    for tag in sorted(source.keys(), key=int):  # pydicom compares tags in Python
        # element 0000 is a group length, retired and wrong after any change
        if not is_removed(tag) and tag.element != 0:
            yield source[tag]


def _readable(
    element: DataElement, source: Dataset, *, big_endian: bool, ancestors: list[Dataset]
) -> DataElement | None:
    """The element with a definite VR and little-endian words; None when its words have unknown size."""
    element = copy.copy(element)
    element.is_undefined_length = False  # a value that ended at a delimiter has the length that it has
    if " or " in element.VR:
        element = correct_ambiguous_vr_element(element, source, not big_endian, [source, *ancestors])
        if " or " in element.VR:
            return None
    if big_endian and element.VR == "UN":
        return None
    width = WORD_BYTES.get(element.VR) if big_endian else None
    if width is None or not isinstance(element.value, bytes) or len(element.value) % width:
        return element
    swapped = np.frombuffer(element.value, f">u{width}").astype(f"<u{width}").tobytes()
    return DataElement(element.tag, element.VR, swapped, already_converted=True)

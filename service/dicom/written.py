"""Attributes of a derived instance that are written anew.

element of the source, under any VR --put--> element of the dictionary's VR, with the new value

pydicom keeps the VR of an element that is there already. Where a source declared a code string as a number, the new
value would not fit it.
"""

from __future__ import annotations

import functools
from typing import Any

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.tag import BaseTag, Tag


def put(dataset: Dataset, **attributes: Any) -> None:
    """Sets attributes by keyword, in place, under the VR that the standard gives them.

    Raises:
        ValueError: the standard has no such keyword.
    """
    for keyword, value in attributes.items():
        dataset.add_new(*_attribute(keyword), value)


@functools.cache
def _attribute(keyword: str) -> tuple[BaseTag, str]:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ValueError(f"the DICOM standard has no attribute {keyword!r}")
    return Tag(tag), dictionary_VR(tag)

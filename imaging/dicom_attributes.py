"""Attributes of a data set as plain Python values, or an error that names the attribute.

    Dataset + keyword --(there? one value? a number?)--> list, str, int or float
                       UnsuitableImage

The data set comes from `imaging.dicom_file.read_dicom`, so reading an element cannot fail any more, but pydicom keeps
malformed numbers as text. Messages name the keyword, and quote no text: it might be a patient's.
"""

from __future__ import annotations

import functools
import math
from typing import Any

from pydicom import Dataset
from pydicom.tag import Tag

from imaging.errors import UnsuitableImage

_tag = functools.cache(Tag)
"""Of a keyword; to look one up takes longer than to find its element."""


def _value(dataset: Dataset, keyword: str) -> Any:
    element = dataset.get(_tag(keyword))
    return None if element is None else element.value


def values(dataset: Dataset, keyword: str) -> list[Any]:
    """All values of an attribute; empty when it is missing or empty."""
    value = _value(dataset, keyword)
    if value is None or value == "":
        return []
    return [value] if isinstance(value, (str, bytes, int, float)) else list(value)


def text(dataset: Dataset, keyword: str) -> str:
    """The single value of a text attribute without outer spaces; empty when it is missing or multi-valued."""
    value = _value(dataset, keyword)
    return value.strip() if isinstance(value, str) else ""


def integer(dataset: Dataset, keyword: str, *, missing: int | None = None) -> int:
    """The single integer of an attribute, or `missing` when it is missing or empty.

    Raises:
        UnsuitableImage: it is missing and `missing` is None, several values, or no integer.
    """
    found = values(dataset, keyword) or ([] if missing is None else [missing])
    if not found:
        raise UnsuitableImage(f"{keyword} is missing or empty; a CT image needs it")
    if len(found) != 1 or not isinstance(found[0], int):
        raise UnsuitableImage(f"{keyword} must be one integer")
    return int(found[0])


def decimals(dataset: Dataset, keyword: str, *, count: int) -> tuple[float, ...]:
    """`count` finite numbers of an attribute, or an empty tuple when it is missing or empty.

    Raises:
        UnsuitableImage: another count, text that is no number, NaN or infinity.
    """
    found = values(dataset, keyword)
    if not found:
        return ()
    try:
        numbers = tuple(float(value) for value in found)
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != count or not all(math.isfinite(number) for number in numbers):
        raise UnsuitableImage(f"{keyword} must be {count} finite number{'s' if count > 1 else ''}")
    return numbers


def optional_decimal(dataset: Dataset, keyword: str) -> float | None:
    """A number that only describes the image; a malformed one counts as not stated."""
    try:
        numbers = decimals(dataset, keyword, count=1)
    except UnsuitableImage:
        return None
    return numbers[0] if numbers else None

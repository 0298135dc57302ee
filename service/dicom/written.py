"""Attributes of a derived instance that are written anew.

element of the source, under any VR --put--> element of the dictionary's VR, with the new value

pydicom keeps the VR of an element that is there already. Where a source declared a code string as a number, the new
value would not fit it.
"""

from __future__ import annotations

from typing import Any

from pydicom import Dataset


def put(dataset: Dataset, **attributes: Any) -> None:
    """Sets attributes by keyword, in place, under the VR that the standard gives them."""
    for keyword, value in attributes.items():
        dataset.pop(keyword, None)
        setattr(dataset, keyword, value)

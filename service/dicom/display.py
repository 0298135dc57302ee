"""How a derived CT image asks to be shown: windows and tables of the source where they are valid, never new ones.

WindowCenter, WindowWidth --(as many, finite, wide enough?)--> kept     else both removed, with a note
VOILUTSequence ------------(every item whole?)---------------> kept     else removed
"""

from __future__ import annotations

import math

from pydicom import Dataset

from imaging.dicom_attributes import text, values

_LINEAR = ("", "LINEAR")
_FUNCTIONS = (*_LINEAR, "LINEAR_EXACT", "SIGMOID")


def keep_valid_display(derived: Dataset) -> list[str]:
    """Removes what PS3.3 C.11.2 does not allow from `derived`, in place; says what."""
    notes = []
    if ("WindowCenter" in derived or "WindowWidth" in derived) and not valid_window(derived):
        for keyword in ("WindowCenter", "WindowWidth", "WindowCenterWidthExplanation", "VOILUTFunction"):
            derived.pop(keyword, None)
        notes.append("WindowCenter and WindowWidth were invalid and are left out")
    explanations = values(derived, "WindowCenterWidthExplanation")
    if explanations and len(explanations) != len(values(derived, "WindowCenter")):
        del derived["WindowCenterWidthExplanation"]
    if "VOILUTSequence" in derived and not valid_tables(derived):
        del derived["VOILUTSequence"]
        notes.append("VOILUTSequence was invalid and is left out")
    return notes


def valid_window(dataset: Dataset) -> bool:
    """Whether centers and widths are as many, finite, and wide enough for the VOI LUT function (PS3.3 C.11.2.1.2)."""
    function = text(dataset, "VOILUTFunction").upper()
    if function not in _FUNCTIONS:
        return False
    try:
        centers = [float(value) for value in values(dataset, "WindowCenter")]
        widths = [float(value) for value in values(dataset, "WindowWidth")]
    except (TypeError, ValueError):
        return False
    if not centers or len(centers) != len(widths) or not all(map(math.isfinite, (*centers, *widths))):
        return False
    return all(width >= 1 if function in _LINEAR else width > 0 for width in widths)


def valid_tables(dataset: Dataset) -> bool:
    """Whether there is at least one table, and each has a descriptor of three numbers and data."""
    items = dataset.get("VOILUTSequence") or ()
    return bool(items) and all(
        len(values(item, "LUTDescriptor")) == 3 and bool(item.get("LUTData"))  # noqa: PLR2004 - PS3.3 C.11.2.1.1
        for item in items
    )

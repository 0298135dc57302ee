"""What a status of C-STORE, or a FailureReason of STOW-RS, means for an instance that was sent.

status --said_of--> Said: taken, later, refused

From PS3.4 B.2.3, PS3.7 annex C and PS3.18 10.5.3: both services use the same codes.
"""

from __future__ import annotations

from typing import Literal

from service.pacs.peers import Said

Verdict = Literal["taken", "later", "refused"]

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110

STATUSES: tuple[tuple[int, int, Verdict, str], ...] = (
    (0x0001, 0x0001, "taken", "a warning without a reason"),
    (0x0107, 0x0107, "taken", "some attributes were left out"),
    (0x0110, 0x0110, "later", "processing failure"),
    (0x0111, 0x0111, "taken", "the instance was there already"),
    (0x0116, 0x0116, "taken", "the value of an attribute is out of range"),
    (0x0122, 0x0122, "refused", "the SOP class is not supported"),
    (0x0124, 0x0124, "refused", "we are not authorised"),
    (0x0210, 0x0210, "later", "the message was taken for a second one of the same number"),
    (0x0213, 0x0213, "later", "out of resources"),
    (0x0100, 0x02FF, "refused", "the message or the instance is not valid there"),
    (0xA700, 0xA7FF, "later", "out of resources"),
    (0xA800, 0xA8FF, "refused", "the SOP class is not supported"),
    (0xA900, 0xA9FF, "refused", "the instance does not fit its SOP class"),
    (0xB000, 0xB000, "taken", "values were coerced"),
    (0xB006, 0xB006, "taken", "elements were discarded"),
    (0xB007, 0xB007, "taken", "the instance does not fit its SOP class"),
    (0xB000, 0xBFFF, "taken", "a warning"),
    (0xC000, 0xCFFF, "refused", "the instance cannot be understood"),
)
"""First and last code of a range, and what they mean; the first range that fits decides.

Duplicates count as taken: UIDs of derived instances follow from their pixels, so what is there is the same, sent before
a crash of ours. Whether it is kept is asked for afterwards.
"""


def said_of(status: int) -> Said:
    """What a status or FailureReason says of an instance.

    Codes that nobody defined are worth trying again: retries end by themselves.
    """
    if status == SUCCESS:
        return Said("taken")
    for first, last, verdict, text in STATUSES:
        if first <= status <= last:
            return Said(verdict, f"{status:04X}H: {text}")
    return Said("later", f"{status:04X}H: an unknown status")

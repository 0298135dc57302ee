"""Which frame of several an error is about.

with naming_frame(3): something about one frame --NotAnImage "..."--> NotAnImage "frame 3: ..."
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from imaging.errors import NotAnImage, UnsuitableImage, UnsupportedFormat


@contextmanager
def naming_frame(number: int) -> Iterator[None]:
    """Puts the number of the frame, from 1 as DICOM counts them, before the message of an error about one frame."""
    try:
        yield
    except (NotAnImage, UnsuitableImage, UnsupportedFormat) as error:
        raise type(error)(f"frame {number}: {error}") from None

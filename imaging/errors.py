"""Errors of reading and writing images.

    bytes --(too many?)--> format --(an image at all? one we support?)--> pixels --(usable as asked?)--> Image
           TooLarge                 NotAnImage      UnsupportedFormat            UnsuitableImage

The service maps each class to one HTTP status (`service/api/problems.py`); nothing here knows about HTTP.
Messages are complete sentences for the person who sent the file: what is wrong, the value found, what would be right.
They name attributes and numbers, never patient data.
"""


class ImagingError(Exception):
    """Base of every expected failure in `imaging`."""


class NotAnImage(ImagingError):
    """The bytes are malformed, truncated or no image file at all."""


class UnsupportedFormat(ImagingError):
    """A real image format, or a feature of one, that is not read here."""


class TooLarge(ImagingError):
    """More bytes or pixels than the caller's limits allow.

    Attributes:
        limit: the name of the exceeded limit, as in `max_bytes`, so that a server can name its setting.
    """

    def __init__(self, message: str, *, limit: str) -> None:
        super().__init__(message)
        self.limit = limit


class UnsuitableImage(ImagingError):
    """A well-formed image that cannot be used as asked: wrong unit, several frames, contradictory attributes."""

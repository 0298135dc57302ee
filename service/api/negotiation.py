"""Accept header -> how the answer looks (RFC 9110 section 12.5.1).

    Accept --parse_accept--> ranges --choose(native format, frames)--> Representation
                                              NotAcceptable

Without an Accept header, or with `*/*`, the image comes back in the format that it came in; so it does inside of JSON
and multipart/mixed. DICOM is possible only where DICOM came in, and PNG only for one image. Several outputs need JSON
or multipart/mixed, which is then what `*/*` means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from imaging.image import Format
from service.errors import NotAcceptable
from service.pipeline import MEDIA_TYPES, ONE_IMAGE

Envelope = Literal["bare", "json", "multipart"]

ENVELOPES: dict[Envelope, str] = {"json": "application/json", "multipart": "multipart/mixed"}
ALL_TYPES = (*MEDIA_TYPES.values(), *ENVELOPES.values())
MAX_RANGES = 32
"""Browsers send about eight."""


@dataclass(frozen=True)
class Range:
    """One media range; `quality` 0 forbids what it matches."""

    type: str
    subtype: str
    quality: float

    @property
    def specificity(self) -> int:
        """2 for `a/b`, 1 for `a/*`, 0 for `*/*`."""
        return (self.type != "*") + (self.subtype != "*")

    def matches(self, media_type: str) -> bool:
        """Whether the range covers a media type."""
        kind, _, subtype = media_type.partition("/")
        return self.type in ("*", kind) and self.subtype in ("*", subtype)


@dataclass(frozen=True)
class Representation:
    """A file format, and what the file is wrapped in."""

    format: Format
    envelope: Envelope


def parse_accept(header: str, available: tuple[str, ...] = ALL_TYPES) -> tuple[Range, ...]:
    """The ranges of an Accept header, malformed ones left out; `*/*` when there is nothing in it.

    Raises:
        NotAcceptable: more than `MAX_RANGES`; the error lists what is `available`.
    """
    if not header.strip():
        return (Range("*", "*", 1.0),)
    entries = header.split(",")
    if len(entries) > MAX_RANGES:
        raise NotAcceptable(f"the Accept header has more than {MAX_RANGES} media ranges", available=available)
    ranges = []
    for entry in entries:
        media_range, *parameters = (part.strip().lower() for part in entry.split(";"))
        kind, slash, subtype = media_range.partition("/")
        if slash and kind and subtype:
            ranges.append(Range(kind, subtype, _quality(parameters)))
    return tuple(ranges)


def choose(ranges: tuple[Range, ...], native: Format | None, frames: int = 1, *, outputs: int = 1) -> Representation:
    """The representation that the client likes best; among equals the image's own format comes first.

    Args:
        ranges: from `parse_accept`.
        native: the image's own format, or None while it is unknown: then any format might be it.
        frames: how many images the file holds.
        outputs: how many files are answered.

    Raises:
        NotAcceptable: nothing that this image could become is accepted; the error lists what it could.
    """
    offers = _offers(native, frames)
    if outputs > 1:
        offers = {ENVELOPES[kind]: offers[ENVELOPES[kind]] for kind in ("multipart", "json")}
    what = "the answer" if frames == 1 else f"the answer of {frames} frames"
    what = what if outputs == 1 else f"the answer of {outputs} outputs"
    return offers[best_of(ranges, tuple(offers), what)]


def best_of(ranges: tuple[Range, ...], offers: tuple[str, ...], what: str = "the answer") -> str:
    """Of some media types the one that the client likes best; among equals the first.

    Args:
        ranges: from `parse_accept`.
        offers: at least one.
        what: has these types, for the message.

    Raises:
        NotAcceptable: none of them is accepted; the error lists them.
    """
    rated = [(_rate(ranges, media_type), media_type) for media_type in offers]
    quality, best = max(rated, key=lambda pair: pair[0])  # max keeps the first of equals
    if quality <= 0:
        raise NotAcceptable(
            f"{what} can be {', '.join(offers)}, and the Accept header allows none of these", available=offers
        )
    return best


def _offers(native: Format | None, frames: int) -> dict[str, Representation]:
    own: Format = native or "dicom"
    others: tuple[Format, ...] = ("png", "tiff", "npy")
    fitting = (other for other in others if other != own and (frames == 1 or other not in ONE_IMAGE))
    formats = [own, *fitting]
    bare = {MEDIA_TYPES[kind]: Representation(kind, "bare") for kind in formats}
    return {**bare, **{media_type: Representation(own, envelope) for envelope, media_type in ENVELOPES.items()}}


def _rate(ranges: tuple[Range, ...], media_type: str) -> float:
    """The quality of the most specific range that matches, 0 when none does."""
    matching = [entry for entry in ranges if entry.matches(media_type)]
    return max(matching, key=lambda entry: entry.specificity).quality if matching else 0.0


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                quality = float(value)
            except ValueError:
                return 0.0
            return quality if 0 <= quality <= 1 else 0.0
    return 1.0

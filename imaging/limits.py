"""How much one file may cost; the caller decides, nothing here is generous by default."""

from __future__ import annotations

from dataclasses import dataclass

from imaging.errors import TooLarge

FLOAT_BYTES = 4
"""Of one pixel in memory, float32; a stored value may have more."""


@dataclass(frozen=True)
class Limits:
    """Checked before memory is taken, never after.

    Attributes:
        max_bytes: of one file, also of what one file decompresses to, and of all its frames together as float32.
        max_pixels: rows x columns of one image.
        max_frames: images in one file; 1 where the caller takes no more.
    """

    max_bytes: int
    max_pixels: int
    max_frames: int = 1

    def __post_init__(self) -> None:
        if self.max_bytes < 1 or self.max_pixels < 1 or self.max_frames < 1:
            raise ValueError(
                f"limits must be at least 1, not {self.max_bytes} bytes, {self.max_pixels} pixels and"
                f" {self.max_frames} frames"
            )


def check_pixels(height: int, width: int, *, max_pixels: int) -> None:
    """Raises TooLarge when an image of that size, in pixels, is not allowed."""
    if height * width > max_pixels:
        raise TooLarge(
            f"the image has {height} rows and {width} columns = {height * width} pixels,"
            f" and at most {max_pixels} are allowed; send a smaller image or a part of it",
            limit="max_pixels",
        )


def check_bytes(size: int, *, max_bytes: int) -> None:
    """Raises TooLarge when a file of that many bytes is not allowed."""
    if size > max_bytes:
        raise TooLarge(
            f"the file has {size} bytes and at most {max_bytes} are allowed; send a smaller file",
            limit="max_bytes",
        )


def check_unpacked(size: int, *, max_bytes: int) -> None:
    """Raises TooLarge when a file may not decompress to that many bytes."""
    if size > max_bytes:
        raise TooLarge(
            f"the file decompresses to {size} bytes and at most {max_bytes} are allowed; send it in parts",
            limit="max_bytes",
        )


def check_frames(
    count: int, height: int, width: int, *, itemsize: int, limits: Limits, instead: str = "send it in parts"
) -> None:
    """Raises TooLarge when a file of so many frames of that size is not allowed.

    One image is bounded by `max_pixels`; several also by `max_bytes`, since all are in memory at once: as float32, or
    as stored where a value has more bytes (`itemsize`). `instead` says what to do.
    """
    if count > limits.max_frames:
        allowed = "one is" if limits.max_frames == 1 else f"{limits.max_frames} are"
        raise TooLarge(f"the file has {count} frames and at most {allowed} allowed; {instead}", limit="max_frames")
    check_pixels(height, width, max_pixels=limits.max_pixels)
    total = count * height * width * max(itemsize, FLOAT_BYTES)
    if count > 1 and total > limits.max_bytes:
        raise TooLarge(
            f"the file has {count} frames of {height} x {width} pixels = {total} bytes in memory, and at most"
            f" {limits.max_bytes} are allowed; {instead}",
            limit="max_bytes",
        )

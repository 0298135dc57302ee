"""How much one file may cost; the caller decides, nothing here has a default."""

from __future__ import annotations

from dataclasses import dataclass

from imaging.errors import TooLarge


@dataclass(frozen=True)
class Limits:
    """Checked before memory is taken, never after.

    Attributes:
        max_bytes: of one file, and also of what one file decompresses to.
        max_pixels: rows x columns of one image.
    """

    max_bytes: int
    max_pixels: int

    def __post_init__(self) -> None:
        if self.max_bytes < 1 or self.max_pixels < 1:
            raise ValueError(f"limits must be at least 1, not {self.max_bytes} bytes and {self.max_pixels} pixels")


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

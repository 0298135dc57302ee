"""Answer: a reconstruction with all that is told about it, from the engine to `service/api/answers.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from imaging.image import Format, Unit
from model_store.version import ModelVersion
from service.pipeline import Encoded


@dataclass(frozen=True)
class Answer:
    """A reconstruction with all that the answer tells about it.

    Attributes:
        native: the format that the image came in.
        frames: how many images the file holds.
        shape: (H, W) of each.
        seconds: by step: decode, queue, infer, encode.
        others: further output -> its file.
        warnings: what the guard found, in sentences.
        chosen: why `auto` chose this version; empty where the client chose.
    """

    encoded: Encoded
    others: dict[str, Encoded]
    warnings: tuple[str, ...]
    chosen: str
    native: Format
    frames: int
    shape: tuple[int, int]
    unit: Unit
    version: ModelVersion
    precision: str
    device: str
    strength: float
    scores: list[dict[str, Any]] | None
    seconds: dict[str, float]

"""The domains: kinds of images that a model is trained for, each in one physical unit."""

from __future__ import annotations

from typing import Literal

from imaging.image import Unit

Domain = Literal["ct", "relative"]

DOMAINS: dict[Domain, Unit] = {"ct": "HU", "relative": "relative"}
"""Domain, the first part of a model's name -> unit of its images."""

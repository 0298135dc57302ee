"""`auto`: the model that the store's evidence speaks for, for images with this noise.

images --read_noise--> level, correlation, impulses --evidence of the store--> Chosen: a version, and why
                                                     UnknownModel: there is none for images of this unit
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imaging.image import Unit
from imaging.noise.reading import NoiseReading, read_noise
from model_store.errors import ModelStoreError, UnknownModel
from model_store.evidence import Evidence, choose
from model_store.store import ModelStore, ModelVersion


@dataclass(frozen=True)
class Chosen:
    """A version, and in a sentence why it was chosen."""

    version: ModelVersion
    reason: str


def provisional(store: ModelStore, unit: Unit) -> tuple[Evidence, ModelVersion]:
    """The evidence, and the version that it takes for images of a unit when nothing speaks for another.

    Raises:
        UnknownModel: the store has no evidence, or none for this unit.
        RefusedVersion: the evidence, or that version, is damaged.
    """
    evidence = store.evidence()
    if evidence is None:
        raise UnknownModel(
            "the store has no evidence to choose a model by, so model cannot be 'auto'; name one, or make evidence"
            " with: clearslice evidence"
        )
    ref = evidence.defaults.get(unit)
    if ref is None:
        raise UnknownModel(f"the store's evidence is about no model for {unit} images, so model cannot be 'auto' here")
    return evidence, store.resolve(ref)


def choose_for(store: ModelStore, unit: Unit, images: Sequence[NDArray[np.float32]]) -> Chosen:
    """The version for images of one noise: those of a file, or of a series; raises as `provisional`.

    Args:
        store: with evidence.
        unit: of the images.
        images: (H, W) each; a few of them are looked at.
    """
    found = provisional(store, unit)
    return _chosen(store, unit, read_noise(images, unit), *found)


def choose_by(store: ModelStore, unit: Unit, noise: NoiseReading) -> Chosen:
    """As `choose_for`, for images whose noise was read before."""
    return _chosen(store, unit, noise, *provisional(store, unit))


def _chosen(store: ModelStore, unit: Unit, noise: NoiseReading, evidence: Evidence, fallback: ModelVersion) -> Chosen:
    usable = {}
    for ref in {ref for row in evidence.rows if row.unit == unit for ref in row.scores}:
        with contextlib.suppress(ModelStoreError):
            version = store.resolve(ref)
            if version.manifest.unit == unit:
                usable[ref] = version
    usable.setdefault(fallback.ref, fallback)
    choice = choose(evidence, unit, noise, usable=set(usable))
    assert choice is not None  # noqa: S101 - its default is usable
    return Chosen(usable[choice.ref], choice.reason)

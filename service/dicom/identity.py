"""Who made a derived instance, and the UIDs that follow from it.

    source series UID + model + weights + parameters + precision + encoding kept? --UUIDv5--> 2.25.<decimal>
    source instance UID + all that + pixels --------------------------------------UUIDv5--> 2.25.<decimal>  PS3.5 B.2

The same input gives the same UID on every machine, a UID never stands for two different sets of pixels, and no instance
is in two series.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import uuid
from dataclasses import dataclass

NAMESPACE = uuid.UUID("5bd1f2c3-6f0e-5c4c-9a39-0d1c2c0a7d55")
"""Of all names below; random once, and never changed, or the same work would get other UIDs."""

MANUFACTURER = "Clearslice"


@functools.cache  # it is read from a file
def program_version() -> str:
    """The version of this program, as SoftwareVersions names it."""
    return importlib.metadata.version("clearslice")


@dataclass(frozen=True)
class Derivation:
    """What was done to an image, enough to do it again.

    Attributes:
        model, version: of the model version that restored it.
        weights_sha256: its `ModelVersion.weights_sha256`.
        strength: of the blend, 0 (the source) to 1 (the network's answer).
        program: version of this program.
        precision: in which the network computed, as in `float32`; one series is of one precision.
        revision: of the derived series; raised when it must be made anew although all of this is as before.
        warning: what the guard found, for whoever opens the image; it changes no UID.
    """

    model: str
    version: int
    weights_sha256: str
    strength: float
    program: str
    precision: str
    revision: int = 0
    warning: str = ""

    @property
    def ref(self) -> str:
        """The model ref, as in `ct-l2@3`."""
        return f"{self.model}@{self.version}"

    def series_uid(self, source_series_uid: str, *, reencoded: bool) -> str:
        """SeriesInstanceUID: one per source series, model, weights, parameters, precision, encoding and revision.

        Args:
            source_series_uid: of the source series.
            reencoded: whether the pixels left the source's encoding (`EncodedPixels.reencoded`). All of one series do
                or none does, so the same series restored once so and once otherwise is two.
        """
        kept = "hounsfield" if reencoded else "source"
        return _uid("series", source_series_uid, *self._parameters(), self.precision, kept, str(self.revision))

    def instance_uid(self, source_instance_uid: str, *, series_uid: str, pixel_data: bytes, encoding: str) -> str:
        """SOPInstanceUID: one per source instance, model, weights, parameters, derived series and outcome.

        Args:
            source_instance_uid: of the source instance.
            series_uid: of the derived series. Two precisions may give the same pixels, and strength 0 always does; the
                same instance must not be in two series.
            pixel_data: the derived PixelData.
            encoding: everything that gives those bytes a meaning, as text.
        """
        pixels = hashlib.sha256(pixel_data).hexdigest()
        return _uid("instance", source_instance_uid, *self._parameters(), series_uid, pixels, encoding)

    def _parameters(self) -> tuple[str, ...]:
        return self.ref, self.weights_sha256, json.dumps({"strength": float(self.strength)}, sort_keys=True)


def device_uid(weights_sha256: str) -> str:
    """DeviceUID of this program with these weights."""
    return _uid("device", weights_sha256)


def implementation_class_uid() -> str:
    """ImplementationClassUID of this program, whatever its version."""
    return _uid("implementation")


def _uid(*parts: str) -> str:
    return f"2.25.{uuid.uuid5(NAMESPACE, chr(10).join(parts)).int}"


IMPLEMENTATION_CLASS_UID = implementation_class_uid()

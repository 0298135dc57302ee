"""The manifest of a version: what it takes and gives, what it was trained on, how it scored, what its files hash to.

It is written once, by `training/export.py`, as `manifest.json` inside the version folder, and never changes.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator

SCHEMA_VERSION: Final = 1
NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,63}$"
SHA256_PATTERN = r"^[0-9a-f]{64}$"

FLOAT32 = "serving_default"
"""The signature that every version has."""

BFLOAT16 = "bfloat16"

UNCERTAINTY = "with_uncertainty"
"""The signature of models that say how sure they are. In float32, whatever else a device serves."""

UNCERTAIN_OUTPUTS = (("restored", "sigma"), ("restored", "lower", "upper"))
"""What `with_uncertainty` gives: sigma, the expected error of every pixel, or the ends of its interval."""

Sha256 = Annotated[str, Field(pattern=SHA256_PATTERN)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Signature(_Frozen):
    """One callable of the SavedModel: `inputs` -> `outputs`, each tensor (N, H, W, 1) float32 with N, H, W free."""

    inputs: tuple[str, ...] = ("image",)
    outputs: tuple[str, ...] = ("restored",)
    compute_dtype: Literal["float32", "bfloat16"] = "float32"


class Contract(_Frozen):
    """The window and range under which a score was taken; see `imaging.metrics.MetricContract`."""

    name: str
    low: float
    high: float
    unit: Literal["HU", "relative"]


class Score(_Frozen):
    """One measured figure, as a mean over patients with its interval.

    `degraded` is the same metric of the untreated input, so that a gain can be read off. A single patient has no
    `interval`: it says nothing about others.
    """

    metric: str
    contract: Contract
    degradation: str
    restored: float
    degraded: float
    interval: tuple[float, float] | None
    interval_method: str
    patients: int
    images: int


class TissueFactors(_Frozen):
    """By what the distances from `restored` to the ends of its interval were multiplied, for one class of pixels.

    Attributes:
        tissue: name of the class.
        below: the restored value at which the next class begins, in the model's unit; None for the last.
        lower, upper: the factors.
        pixels: how many they come from.
    """

    tissue: str
    below: float | None
    lower: Annotated[float, Field(gt=0)]
    upper: Annotated[float, Field(gt=0)]
    pixels: int


class IntervalCalibration(_Frozen):
    """How `lower` and `upper` were made to hold what they promise; it is in the graph, and here to be read.

    Attributes:
        coverage: the share of the references that an interval shall hold, 0 to 1.
        classes: in ascending order of `below`; together they cover every value.
        degradations: what the images were degraded by.
        patients: how many, none of them fitted.
    """

    coverage: Annotated[float, Field(gt=0, lt=1)]
    classes: Annotated[tuple[TissueFactors, ...], Field(min_length=1)]
    degradations: tuple[str, ...]
    patients: int


class Guard(_Frozen):
    """Between what the measures of `imaging.guard` lay on images that the model was made for, with a margin.

    Attributes:
        bounds: measure -> (low, high); an answer beyond carries a warning.
        degradations: what the images were degraded by.
        images, patients: how many they come from; no patient was fitted.
    """

    bounds: dict[str, tuple[float, float]]
    degradations: tuple[str, ...]
    images: int
    patients: int


class TrainingData(_Frozen):
    """One series that was fitted; `collection` and `licence` are credited on the model card."""

    series: str
    patient: str
    slices: int
    collection: str
    licence: str


class Golden(_Frozen):
    """The golden sample: `golden.npz` holds `image` and every output, (1, H, W, 1) float32 in the model's unit.

    `max_abs` bounds every pixel of every output in float32. The reduced-precision signatures are compared with the
    stored float32 answer: root mean square, 99.9th percentile of the absolute difference, and absolute mean difference.
    All are in the model's unit.
    """

    file: str = "golden.npz"
    max_abs: float
    reduced_rms: float
    reduced_p999: float
    reduced_mean: float


class Provenance(_Frozen):
    """Where a version came from, enough to make it again."""

    created: AwareDatetime
    clearslice: str
    source_revision: str
    framework: dict[str, str]
    device: str
    seed: int


class ManifestDraft(_Frozen):
    """All that an exporter knows; publishing adds the version number and the hashes.

    Attributes:
        size_multiple: tiles and buckets should have sides that are multiples of it. The graph itself takes any size.
        receptive_field: side in pixels of the square of input pixels that can change one output pixel.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    domain: Literal["ct", "relative"]
    unit: Literal["HU", "relative"]
    recipe: str
    recipe_settings: dict[str, Any] = {}
    summary: str
    intended_use: str
    signatures: dict[str, Signature]
    size_multiple: Annotated[int, Field(ge=1)]
    receptive_field: Annotated[int, Field(ge=1)]
    parameters: Annotated[int, Field(ge=0)]
    training_settings: dict[str, Any] = {}
    training_data: tuple[TrainingData, ...] = ()
    scores: tuple[Score, ...] = ()
    intervals: IntervalCalibration | None = None
    guard: Guard | None = None
    golden: Golden
    provenance: Provenance

    @property
    def spread_outputs(self) -> tuple[str, ...]:
        """What `with_uncertainty` gives beside `restored`; empty for a version without that signature."""
        uncertain = self.signatures.get(UNCERTAINTY)
        return tuple(name for name in uncertain.outputs if name != "restored") if uncertain else ()

    @field_validator("signatures")
    @classmethod
    def _has_serving_default(cls, signatures: dict[str, Signature]) -> dict[str, Signature]:
        if FLOAT32 not in signatures:
            raise ValueError(f"signatures must contain {FLOAT32!r}")
        return signatures


class Manifest(ManifestDraft):
    """The manifest of a published version; `FORMAT.md` says which fields are required of a reader.

    Attributes:
        version: the folder's name; never changes and is never used again.
        files: SHA-256 of every file of the version folder but the manifest itself, by POSIX relative path.
    """

    version: Annotated[int, Field(ge=1)]
    files: dict[str, Sha256]

    @field_validator("files")
    @classmethod
    def _paths_stay_inside(cls, files: dict[str, str]) -> dict[str, str]:
        for name in files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or str(path) != name or name == "manifest.json":
                raise ValueError(f"file name {name!r} must be a plain relative POSIX path, and not the manifest itself")
        return files

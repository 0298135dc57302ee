"""The text fields and headers of a request -> checked values.

    {"strength": "0.5", "metrics": "psnr,ssim", ...} --Fields--> strength 0.5, metrics ("psnr", "ssim"), Rescale or None
                                                     InvalidField

An empty field counts as absent: HTML forms send all of theirs.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Self, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from imaging.image import Rescale
from model_store.refs import echo
from service.errors import InvalidField
from service.scores import METRICS

TIMEOUT_HEADER = "X-Request-Timeout"
KEY_HEADER = "Idempotency-Key"
_KEY = re.compile(r'"[\x20\x21\x23-\x5b\x5d-\x7e]{1,255}"|[\x21\x23-\x5b\x5d-\x7e]{1,255}')
_DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
OUTPUTS = ("restored", "lower", "upper", "sigma")
"""What a model can give; every model gives the first."""

MAX_COMPARED = 16
"""Models in one comparison: each is a run of the device."""

_ALL, _NONE = ("true", "1", "yes", "all"), ("false", "0", "no", "none")


def _select_metrics(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.lower() in _ALL:
        return METRICS
    if value.lower() in _NONE:
        return ()
    names = [name.strip().lower() for name in value.split(",")]
    if not set(names) <= set(METRICS):
        raise ValueError("unknown metric")
    return tuple(name for name in METRICS if name in names)


def _select_outputs(value: object) -> object:
    if not isinstance(value, str):
        return value
    names = {name.strip().lower() for name in value.split(",")}
    if not names <= set(OUTPUTS) or "restored" not in names:
        raise ValueError("unknown output")
    return tuple(name for name in OUTPUTS if name in names)


def _select_models(value: object) -> object:
    if not isinstance(value, str):
        return value
    refs = tuple(dict.fromkeys(ref.strip() for ref in value.split(",")))
    if not all(refs) or len(refs) > MAX_COMPARED:
        raise ValueError("no ref, or too many")
    return refs


def _yes_or_no(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.lower() not in (*_ALL, *_NONE):
        raise ValueError("neither true nor false")
    return value.lower() in _ALL


def _not_zero(value: float) -> float:
    if value == 0:
        raise ValueError("zero")
    return value


Finite = Annotated[float, Field(allow_inf_nan=False)]
Slope = Annotated[Finite, AfterValidator(_not_zero)]
Outputs = Annotated[tuple[str, ...], BeforeValidator(_select_outputs)]
YesOrNo = Annotated[bool, BeforeValidator(_yes_or_no)]
Metrics = Annotated[tuple[str, ...] | None, BeforeValidator(_select_metrics)]


class Fields(BaseModel):
    """Text fields of a form; each description ends the sentence `must be ...`."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class JobFields(Fields):
    """Fields of a job."""

    model: str | None = Field(None, description="a model ref, or auto")
    strength: float = Field(1.0, ge=0, le=1, allow_inf_nan=False, description="a number from 0 to 1")


class RescaleFields(Fields):
    """Fields of a request about images that may state no unit."""

    rescale_slope: Slope | None = Field(None, description="a finite number other than 0")
    rescale_intercept: Finite | None = Field(None, description="a finite number")

    @model_validator(mode="after")
    def _rescale_is_whole(self) -> Self:
        if (self.rescale_slope is None) != (self.rescale_intercept is None):
            missing = "rescale_slope" if self.rescale_slope is None else "rescale_intercept"
            raise ValueError(missing)
        return self

    def rescale(self) -> Rescale | None:
        """For files that state no unit."""
        if self.rescale_slope is None or self.rescale_intercept is None:
            return None
        return Rescale(self.rescale_slope, self.rescale_intercept)


class LookFields(RescaleFields):
    """Fields of a request to read an image."""

    noise: YesOrNo = Field(True, description="true or false")


class MetricFields(RescaleFields):
    """Fields of a request about two images."""

    metrics: Metrics = Field(None, description=f"true, false, or some of {', '.join(METRICS)}, comma-separated")


class ComparisonFields(MetricFields):
    """Fields of a comparison."""

    models: Annotated[tuple[str, ...], BeforeValidator(_select_models)] = Field(
        description=f"1 to {MAX_COMPARED} model refs, comma-separated"
    )
    strength: float = Field(1.0, ge=0, le=1, allow_inf_nan=False, description="a number from 0 to 1")


class ReconstructionFields(MetricFields):
    """Fields of a reconstruction."""

    model: str | None = Field(None, description="a model ref, or auto")
    outputs: Outputs = Field(
        ("restored",), description=f"restored, and what else of {', '.join(OUTPUTS[1:])}, comma-separated"
    )
    strength: float = Field(1.0, ge=0, le=1, allow_inf_nan=False, description="a number from 0 to 1")


F = TypeVar("F", bound=Fields)


def parse_fields(kind: type[F], texts: dict[str, str]) -> F:
    """The fields of a form.

    Raises:
        InvalidField: names every field that is wrong, and what would be right.
    """
    try:
        return kind.model_validate({name: text for name, text in texts.items() if text})
    except ValidationError as error:
        found = dict(_explain(kind, texts, item) for item in error.errors(include_url=False, include_input=False))
        raise InvalidField("; ".join(f"{name} {wrong}" for name, wrong in found.items()), fields=found) from None


def check_reference(fields: MetricFields, reference: bytes | None) -> None:
    """Raises InvalidField when metrics are wanted and there is nothing to measure against."""
    if reference is None and fields.metrics:
        wrong = "need a reference to measure against; send it as the part 'reference'"
        raise InvalidField(f"metrics {wrong}", fields={"metrics": wrong})


def _explain(kind: type[Fields], texts: dict[str, str], item: Any) -> tuple[str, str]:
    """A field's name and what is wrong with it, from one of pydantic's errors."""
    if not item["loc"]:
        return str(item["ctx"]["error"]), "is missing: rescale_slope and rescale_intercept belong together"
    name = str(item["loc"][0])
    if item["type"] == "missing":
        return name, f"is missing: {kind.model_fields[name].description}"
    return name, f"must be {kind.model_fields[name].description}, not {echo(texts[name])}"


def parse_timeout(header: str | None, *, longest: float) -> float:
    """Seconds that a request may take: what its header asks for, at most `longest`, which is also the default.

    Raises:
        InvalidField: the header is no positive number of seconds.
    """
    if header is None:
        return longest
    text = header.strip()
    seconds = float(text) if _DECIMAL.fullmatch(text) else math.nan
    if not seconds > 0:
        wrong = f"must be a positive number of seconds, as in 2.5, not {echo(text)}"
        raise InvalidField(f"{TIMEOUT_HEADER} {wrong}", fields={TIMEOUT_HEADER: wrong})
    return min(seconds, longest)


def parse_idempotency_key(header: str | None) -> str | None:
    """What the client calls its request, so that it can repeat it safely; with or without the quotes of the draft.

    Raises:
        InvalidField: it is empty, longer than 255 characters, or has others than printable ASCII.
    """
    if header is None:
        return None
    text = header.strip()
    if not _KEY.fullmatch(text):
        wrong = f"must be 1 to 255 printable ASCII characters, as in 8e03978e-40d5-43dd, not {echo(text)}"
        raise InvalidField(f"{KEY_HEADER} {wrong}", fields={KEY_HEADER: wrong})
    return text.strip('"')

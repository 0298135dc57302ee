"""The text fields and headers of a request -> checked values.

    {"strength": "0.5", "metrics": "psnr,ssim", ...} --Fields--> strength 0.5, metrics ("psnr", "ssim"), Rescale or None
                                                     InvalidField

An empty field counts as absent: HTML forms send all of theirs.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from imaging.image import Rescale
from service.errors import InvalidField
from service.scores import METRICS

TIMEOUT_HEADER = "X-Request-Timeout"
_DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
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
        raise ValueError(f"must be true, false, or some of {', '.join(METRICS)}, comma-separated")
    return tuple(name for name in METRICS if name in names)


Finite = Annotated[float, Field(allow_inf_nan=False)]
Metrics = Annotated[tuple[str, ...] | None, BeforeValidator(_select_metrics)]


class MetricFields(BaseModel):
    """Fields of a request about two images."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metrics: Metrics = None
    rescale_slope: Finite | None = None
    rescale_intercept: Finite | None = None

    @model_validator(mode="after")
    def _rescale_is_whole(self) -> MetricFields:
        if (self.rescale_slope is None) != (self.rescale_intercept is None):
            raise ValueError("rescale_slope and rescale_intercept belong together: send both or neither")
        if self.rescale_slope == 0:
            raise ValueError("rescale_slope must not be 0")
        return self

    def rescale(self) -> Rescale | None:
        """For files that state no unit."""
        if self.rescale_slope is None or self.rescale_intercept is None:
            return None
        return Rescale(self.rescale_slope, self.rescale_intercept)


class ReconstructionFields(MetricFields):
    """Fields of a reconstruction."""

    model: str | None = None
    strength: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 1.0


F = TypeVar("F", bound=MetricFields)


def parse_fields(kind: type[F], texts: dict[str, str]) -> F:
    """The fields of a form.

    Raises:
        InvalidField: names every field that is wrong, and what would be right.
    """
    try:
        return kind.model_validate({name: text for name, text in texts.items() if text})
    except ValidationError as error:
        found = {}
        for item in error.errors(include_url=False, include_input=False, include_context=False):
            name = ".".join(str(part) for part in item["loc"]) or "rescale_slope, rescale_intercept"
            found[name] = item["msg"].removeprefix("Value error, ")
        detail = "; ".join(f"{name}: {message}" for name, message in found.items())
        raise InvalidField(detail, fields=found) from None


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
        message = "must be a positive number of seconds, as in 2.5"
        raise InvalidField(f"{TIMEOUT_HEADER}: {message}", fields={TIMEOUT_HEADER: message})
    return min(seconds, longest)

"""Text fields and the deadline header."""

from __future__ import annotations

import pytest

from imaging.image import Rescale
from service.api.fields import MetricFields, ReconstructionFields, parse_fields, parse_timeout
from service.errors import InvalidField
from service.scores import METRICS


def test_nothing_given_is_the_default():
    fields = parse_fields(ReconstructionFields, {})
    assert (fields.model, fields.strength, fields.metrics, fields.rescale()) == (None, 1.0, None, None)
    assert parse_fields(ReconstructionFields, {"model": "", "strength": "", "metrics": ""}) == fields


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", METRICS),
        ("ALL", METRICS),
        ("0", ()),
        ("none", ()),
        ("ssim, psnr", ("psnr", "ssim")),
        ("PSNR", ("psnr",)),
    ],
)
def test_metrics(text, expected):
    assert parse_fields(MetricFields, {"metrics": text}).metrics == expected


def test_a_rescale_needs_both():
    fields = parse_fields(MetricFields, {"rescale_slope": "2", "rescale_intercept": "-1e3"})
    assert fields.rescale() == Rescale(2.0, -1000.0)
    with pytest.raises(InvalidField, match="rescale_slope is missing"):
        parse_fields(MetricFields, {"rescale_intercept": "1"})


def test_every_wrong_field_is_named():
    with pytest.raises(InvalidField) as caught:
        parse_fields(ReconstructionFields, {"strength": "2", "metrics": "beauty", "rescale_slope": "0"})
    assert caught.value.fields == {
        "strength": "must be a number from 0 to 1, not '2'",
        "metrics": "must be true, false, or some of psnr, ssim, rmse, bias, comma-separated, not 'beauty'",
        "rescale_slope": "must be a finite number other than 0, not '0'",
    }


@pytest.mark.parametrize("text", ["0,5", "nan", "-0.1", "x" * 900])
def test_a_message_tells_the_value_and_what_would_be_right(text):
    with pytest.raises(InvalidField, match=r"^strength must be a number from 0 to 1, not '") as caught:
        parse_fields(ReconstructionFields, {"strength": text})
    assert text[:60] in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(("header", "seconds"), [(None, 60.0), ("2.5", 2.5), (" 10 ", 10), ("999", 60.0), ("60", 60.0)])
def test_the_shorter_of_both_deadlines_counts(header, seconds):
    assert parse_timeout(header, longest=60.0) == seconds


@pytest.mark.parametrize("header", ["", "0", "0.0", "-1", "1e3", "nan", "inf", "٣", "1" * 20])
def test_other_deadlines_are_refused(header):
    with pytest.raises(InvalidField, match="X-Request-Timeout"):
        parse_timeout(header, longest=60.0)

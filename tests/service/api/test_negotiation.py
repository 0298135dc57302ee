"""Accept headers, by the rules of RFC 9110 section 12.5.1."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.negotiation import Representation, choose, parse_accept
from service.errors import NotAcceptable

CASES = [
    ("", "dicom", ("dicom", "bare")),
    ("", "png", ("png", "bare")),
    ("*/*", "npy", ("npy", "bare")),
    ("application/json", "dicom", ("dicom", "json")),
    ("multipart/mixed", "png", ("png", "multipart")),
    ("multipart/*", "png", ("png", "multipart")),
    ("image/png", "dicom", ("png", "bare")),
    ("image/*", "npy", ("png", "bare")),
    ("image/*", "tiff", ("tiff", "bare")),
    ("image/tiff", "dicom", ("tiff", "bare")),
    ("image/tiff;q=0.2, image/png;q=0.1", "npy", ("tiff", "bare")),
    ("multipart/mixed", "tiff", ("tiff", "multipart")),
    ("application/*", "dicom", ("dicom", "bare")),
    ("application/*", "npy", ("npy", "bare")),
    ("application/x-npy;q=0.5, image/png;q=0.4", "dicom", ("npy", "bare")),
    ("image/png;q=0.4, application/json;q=0.5", "png", ("png", "json")),
    ("*/*;q=0.1, image/png", "dicom", ("png", "bare")),
    # the more specific range decides, also against
    ("*/*, application/dicom;q=0", "dicom", ("png", "bare")),
    ("APPLICATION/JSON ; Q=1", "png", ("png", "json")),
    ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "dicom", ("dicom", "bare")),
    ("application/json;q=nonsense, image/png;q=0.1", "dicom", ("png", "bare")),
]


@pytest.mark.parametrize(("header", "native", "expected"), CASES)
def test_choice(header, native, expected):
    assert choose(parse_accept(header), native) == Representation(*expected)


@pytest.mark.parametrize("header", ["image/gif", "image/png;q=0", "image/png;q=2", "nonsense", "application/dicom"])
def test_refusal_lists_what_there_is(header):
    with pytest.raises(NotAcceptable) as caught:
        choose(parse_accept(header), "png")
    assert caught.value.available == (
        "image/png",
        "image/tiff",
        "application/x-npy",
        "application/json",
        "multipart/mixed",
    )


@pytest.mark.parametrize("native", ["tiff", "npy"])
def test_several_frames_are_never_png(native):
    with pytest.raises(NotAcceptable, match="the answer of 3 frames can be") as caught:
        choose(parse_accept("image/png"), native, 3)
    assert set(caught.value.available) == {
        "image/tiff",
        "application/x-npy",
        "application/json",
        "multipart/mixed",
    }
    assert choose(parse_accept("image/*"), native, 3).format == "tiff"
    assert choose(parse_accept("image/png, */*;q=0.1"), native, 3) == Representation(native, "bare")
    assert choose(parse_accept("image/png, application/json;q=0.5"), native, 3) == Representation(native, "json")
    assert choose(parse_accept("image/png"), native, 1).format == "png"


def test_while_the_format_is_unknown_dicom_is_possible():
    assert choose(parse_accept("application/dicom"), None) == Representation("dicom", "bare")


def test_a_header_of_many_ranges_is_refused():
    with pytest.raises(NotAcceptable):
        parse_accept(",".join(["image/png"] * 33))


@given(st.text())
def test_any_header_gives_a_choice_or_a_refusal(header):
    with contextlib.suppress(NotAcceptable):
        assert choose(parse_accept(header), "png").format in ("png", "tiff", "npy")

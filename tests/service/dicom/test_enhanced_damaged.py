"""Damaged multi-frame files: each is refused with an error of ours, or gives an instance that keeps all rules."""

from __future__ import annotations

import copy
import re
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from imaging.errors import ImagingError
from imaging.formats import Limits, decode
from imaging.functional_groups import places
from service import pipeline
from service.dicom.eligibility import check_source
from service.dicom.identity import Derivation
from service.errors import DerivationRefused
from service.settings import SiteConventions

LIMITS = Limits(max_bytes=10**6, max_pixels=10**5, max_frames=8)
META_END = 330
"""Of the preamble and the file meta information, whose damage has tests of its own."""

VRS = (b"CS", b"SQ", b"DS", b"IS", b"US", b"UI", b"LO", b"SS", b"FD", b"UN", b"OB", b"AT", b"UL", b"PN", b"UT")
SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)
SOME = settings(max_examples=150)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # of what is damaged; the service only logs them


@pytest.fixture(scope="module")
def files(enhanced):
    """The same instance in three syntaxes, and as a conversion."""
    made = [enhanced.enhanced_ct(syntax=syntax) for syntax in SYNTAXES]
    made.append(enhanced.enhanced_ct(legacy=True, rescales=[(1, -1024)] * 3))
    return [enhanced.enhanced_file(dataset) for dataset in made]


def derive_or_refuse(data):
    """Whether an instance could be derived, which the rules have checked; only expected errors are let pass."""
    try:
        frames = decode(data, limits=LIMITS)
        check_source(frames.first.dataset, SiteConventions())
    except (ImagingError, DerivationRefused):
        return False
    encoded = pipeline.encode(
        frames,
        [image.pixels + np.float32(3) for image in frames],
        "dicom",
        derivation=Derivation("ct-tiny", 1, "ab" * 32, 1.0, "clearslice", "float32"),
        conventions=SiteConventions(),
        series=pipeline.SeriesContext(now=datetime(2026, 3, 4, tzinfo=UTC)),
    )
    assert len(decode(encoded.data, limits=LIMITS)) == len(frames)
    return True


def test_whole_files_are_derived_from(files):
    assert all(derive_or_refuse(data) for data in files)


def test_an_attribute_among_the_functional_groups_that_is_none_is_kept(enhanced):
    dataset = enhanced.enhanced_ct()
    for place in places(dataset):
        place.AcquisitionType = "SPIRAL"
    assert derive_or_refuse(enhanced.enhanced_file(dataset))


@SOME
@given(st.data())
def test_changed_bytes(files, data):
    damaged = bytearray(data.draw(st.sampled_from(files)))
    last = damaged.rfind(b"\xe0\x7f\x10\x00") if b"\xe0\x7f\x10\x00" in damaged else len(damaged) - 1
    for place in data.draw(st.lists(st.integers(META_END, last), min_size=1, max_size=4)):
        damaged[place] = data.draw(st.integers(0, 255))
    derive_or_refuse(bytes(damaged))


@SOME
@given(st.data())
def test_removed_and_repeated_bytes(files, data):
    whole = data.draw(st.sampled_from(files))
    begin = data.draw(st.integers(META_END, len(whole)))
    length = data.draw(st.integers(1, 64))
    derive_or_refuse(whole[:begin] + whole[begin + length :])
    derive_or_refuse(whole[: begin + length] + whole[begin:])


@SOME
@given(st.data())
def test_elements_under_another_vr(files, data):
    damaged = bytearray(files[0])
    places = [match.start() for match in re.finditer(b"|".join(VRS), bytes(damaged)) if match.start() > META_END]
    for place in data.draw(st.lists(st.sampled_from(places), min_size=1, max_size=2)):
        damaged[place : place + 2] = data.draw(st.sampled_from(VRS))
    derive_or_refuse(bytes(damaged))


def sequences_in(dataset):
    """Each sequence of a data set, at any depth, as the data set that holds it and the keyword."""
    for element in dataset:
        if element.VR == "SQ":
            yield dataset, element.keyword
            for item in element.value:
                yield from sequences_in(item)


def empty(holder, keyword, _):
    setattr(holder, keyword, Sequence())


def without_content(holder, keyword, enhanced):
    setattr(holder, keyword, Sequence([enhanced.item()]))


def twice(holder, keyword, _):
    setattr(holder, keyword, Sequence([*holder[keyword].value, *copy.deepcopy(holder[keyword].value)]))


def gone(holder, keyword, _):
    del holder[keyword]


@SOME
@given(data=st.data(), legacy=st.booleans(), own=st.booleans(), elsewhere=st.booleans())
def test_functional_groups_and_other_sequences_that_are_not_as_they_should_be(enhanced, data, legacy, own, elsewhere):
    types = [["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]] * 3
    groups = {"rescales": [(1, -1024)] * 3, "frame_types": types} if own else {}
    dataset = enhanced.enhanced_ct(legacy=legacy, **groups)
    holder, keyword = data.draw(st.sampled_from(list(sequences_in(dataset))))
    if elsewhere:  # the same also in a place where functional groups can be
        other = data.draw(st.sampled_from(places(dataset)))
        other[keyword] = copy.deepcopy(holder[keyword])
        holder = other
    data.draw(st.sampled_from([empty, without_content, twice, gone]))(holder, keyword, enhanced)
    derive_or_refuse(enhanced.enhanced_file(dataset))

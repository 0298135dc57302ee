"""Groups of a frame are found where they stand, and what could be meant in two ways is refused."""

from __future__ import annotations

import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence

from imaging.errors import UnsuitableImage
from imaging.functional_groups import frame_groups, items, left_over, places


@pytest.fixture
def source(enhanced):
    return enhanced.enhanced_ct(rescales=[(1, -1024), (2, -1000), (0.5, 0)])


def test_shared_groups_are_of_all_frames_and_own_ones_of_one(source):
    groups = frame_groups(source, 3)
    assert [one.number for one in groups] == [1, 2, 3]
    assert [one.needed("PixelValueTransformationSequence").RescaleSlope for one in groups] == [1, 2, 0.5]
    assert {tuple(one.needed("PixelMeasuresSequence").PixelSpacing) for one in groups} == {(0.7, 0.7)}
    assert [one.group("TemporalPositionSequence") for one in groups] == [None] * 3


def test_without_shared_groups_there_are_only_own_ones(source):
    del source.SharedFunctionalGroupsSequence
    (one, *_) = frame_groups(source, 3)
    assert one.group("PixelMeasuresSequence") is None
    assert one.needed("FrameContentSequence").InStackPositionNumber == 1


def test_a_missing_group_is_named(source):
    del source.PerFrameFunctionalGroupsSequence[1].PixelValueTransformationSequence
    groups = frame_groups(source, 3)
    with pytest.raises(UnsuitableImage, match=r"PixelValueTransformationSequence is in neither Shared.* nor PerFrame"):
        groups[1].needed("PixelValueTransformationSequence")
    assert groups[0].needed("PixelValueTransformationSequence").RescaleSlope == 1


def test_a_group_in_both_places_or_of_two_items_cannot_be_understood(source):
    shared = source.SharedFunctionalGroupsSequence[0]
    shared.PixelValueTransformationSequence = [Dataset()]
    with pytest.raises(UnsuitableImage, match="2 items for one frame"):
        frame_groups(source, 3)[0].group("PixelValueTransformationSequence")
    shared.PixelMeasuresSequence = [Dataset(), Dataset()]
    with pytest.raises(UnsuitableImage, match="PixelMeasuresSequence has 2 items"):
        frame_groups(source, 3)[0].group("PixelMeasuresSequence")


@pytest.mark.parametrize("count", [1, 2, 4, 1000])
def test_there_must_be_one_item_for_each_frame(source, count):
    with pytest.raises(UnsuitableImage, match=f"has 3 items, and NumberOfFrames is {count}"):
        frame_groups(source, count)


def test_there_is_at_most_one_shared_item(source):
    source.SharedFunctionalGroupsSequence = Sequence([Dataset(), Dataset()])
    with pytest.raises(UnsuitableImage, match="SharedFunctionalGroupsSequence has 2 items"):
        frame_groups(source, 3)


def test_what_is_no_sequence_is_refused():
    dataset = Dataset()
    dataset.add_new("PixelMeasuresSequence", "LO", "no sequence")
    with pytest.raises(UnsuitableImage, match="PixelMeasuresSequence is no sequence"):
        items(dataset, "PixelMeasuresSequence")
    assert items(Dataset(), "PixelMeasuresSequence") == []


def test_places_and_what_is_left_over_in_them(enhanced):
    source = enhanced.enhanced_ct(enhanced.stack_of(2), bits=12, legacy=True)
    assert places(source) == [source.SharedFunctionalGroupsSequence[0], *source.PerFrameFunctionalGroupsSequence]
    common, *of_frames = left_over(source)
    assert (common.KVP, [attributes.SliceLocation for attributes in of_frames]) == (120, [1, 2])
    assert places(Dataset()) == left_over(Dataset()) == left_over(enhanced.enhanced_ct()) == []

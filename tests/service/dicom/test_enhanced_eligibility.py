"""From which multi-frame instances none is derived: one frame decides, and what is left over of a converted image."""

from __future__ import annotations

import pytest
from pydicom import Dataset

from service.dicom.eligibility import check_source
from service.errors import DerivationRefused
from service.settings import SiteConventions

PRIVATE, PUBLIC = 0x20051011, 0x00209057


@pytest.fixture
def file(enhanced):
    return lambda *arguments, **changes: enhanced.enhanced_file(enhanced.enhanced_ct(*arguments, **changes))


@pytest.mark.parametrize("kind", ["VMI", "MAT_SPECIFIC", "ELECTRON_DENSITY"])
def test_a_multi_energy_frame_is_refused(frames_work, file, kind):
    frame_types = [["DERIVED", "PRIMARY", "VOLUME", value] for value in ("NONE", kind, "NONE")]
    made = frames_work(file(frame_types=frame_types))
    with pytest.raises(DerivationRefused, match="multi-energy"):
        check_source(made.frames.first.dataset, SiteConventions())


def test_a_part_of_a_concatenation_is_refused(frames_work, file):
    made = frames_work(file(ConcatenationUID="1.2.3.6", InConcatenationNumber=1))
    with pytest.raises(DerivationRefused, match="one part of a concatenation"):
        check_source(made.frames.first.dataset, SiteConventions())


def test_our_own_output_is_not_restored_again(frames_work, file):
    first = frames_work(file(), 1.0)
    check_source(first.frames.first.dataset, SiteConventions())
    second = frames_work(first.write(), 1.0)
    with pytest.raises(DerivationRefused, match="already a reconstruction"):
        check_source(second.frames.first.dataset, SiteConventions())


@pytest.fixture
def with_left_over(enhanced):
    """A conversion whose second frame has these attributes left over from its single-frame image."""

    def make(**attributes):
        source = enhanced.enhanced_ct(legacy=True)
        (left_over,) = source.PerFrameFunctionalGroupsSequence[1].UnassignedPerFrameConvertedAttributesSequence
        left_over.update(enhanced.item(**attributes))
        return source

    return make


def test_converted_images_of_ours_are_not_restored_again(frames_work, file, with_left_over):
    # each has its own ContributionDateTime, so that converters cannot keep them at the top level
    ours = frames_work(file(), 1.0).written().ContributingEquipmentSequence
    with pytest.raises(DerivationRefused, match="already a reconstruction"):
        check_source(with_left_over(ContributingEquipmentSequence=ours), SiteConventions())
    check_source(with_left_over(ContributingEquipmentSequence=ours[:1]), SiteConventions())


@pytest.mark.parametrize(
    ("keyword", "message"),
    [("BurnedInAnnotation", "BurnedInAnnotation is YES"), ("MultienergyCTAcquisition", "energy")],
)
def test_what_one_converted_image_said_counts(with_left_over, keyword, message):
    with pytest.raises(DerivationRefused, match=message):
        check_source(with_left_over(**{keyword: "YES"}), SiteConventions())
    check_source(with_left_over(**{keyword: "NO"}), SiteConventions())


@pytest.mark.parametrize(
    ("attribute", "group", "refused"),
    [(PRIVATE, PRIVATE, True), (PRIVATE, None, True), (PUBLIC, PRIVATE, True), (PUBLIC, None, False)],
)
def test_frames_ordered_by_a_private_attribute_are_refused(frames_work, enhanced, attribute, group, refused):
    source = enhanced.enhanced_ct()
    dimension = enhanced.item(DimensionOrganizationUID=enhanced.DIMENSION_UID, DimensionIndexPointer=attribute)
    if group is not None:
        dimension.FunctionalGroupPointer = group
    source.DimensionIndexSequence.append(dimension)
    read = frames_work(enhanced.enhanced_file(source)).frames.first.dataset
    if refused:
        with pytest.raises(DerivationRefused, match="a dimension of the frames is a private attribute"):
            check_source(read, SiteConventions())
    else:
        check_source(read, SiteConventions())


def test_an_image_of_one_frame_has_none_to_order(ct_dataset, enhanced):
    check_source(ct_dataset(DimensionIndexSequence=[enhanced.item(DimensionIndexPointer=PRIVATE)]), SiteConventions())


def test_pointers_that_are_no_tags_are_not_looked_into(enhanced):
    source = enhanced.enhanced_ct()
    source.DimensionIndexSequence.append(Dataset())
    source.DimensionIndexSequence[0].add_new("DimensionIndexPointer", "LO", "a text")
    check_source(source, SiteConventions())

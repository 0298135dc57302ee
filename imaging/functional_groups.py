"""The attributes of one frame of a multi-frame instance: shared by all, or its own (PS3.3 C.7.6.16).

    SharedFunctionalGroupsSequence, one item ----------+--frame_groups--> FrameGroups --group(keyword)--> its item
    PerFrameFunctionalGroupsSequence, one per frame ---+  UnsuitableImage               UnsuitableImage

A functional group is a sequence of one item, and stands in one of the two places, never in both: then it could not be
known which one counts. What belongs to no group was left over when single-frame images were converted, and stands in
both places as `UNASSIGNED`.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydicom import Dataset

from imaging.errors import UnsuitableImage

SHARED = "SharedFunctionalGroupsSequence"
PER_FRAME = "PerFrameFunctionalGroupsSequence"
UNASSIGNED = ("UnassignedSharedConvertedAttributesSequence", "UnassignedPerFrameConvertedAttributesSequence")
"""Functional groups of attributes that no other group has (PS3.3 C.7.6.16.2.25)."""


@dataclass(frozen=True, eq=False)
class FrameGroups:
    """The functional groups of one frame.

    Attributes:
        number: of the frame, from 1.
        shared: groups that all frames have.
        own: groups of this frame.
    """

    number: int
    shared: Dataset
    own: Dataset

    def group(self, keyword: str) -> Dataset | None:
        """The item of a functional group, or None where it is missing or empty.

        Raises:
            UnsuitableImage: several items, or the group is in both places.
        """
        found = [item for place in (self.own, self.shared) for item in items(place, keyword)]
        if len(found) > 1:
            raise UnsuitableImage(f"{keyword} has {len(found)} items for one frame; it must have one")
        return found[0] if found else None

    def needed(self, keyword: str) -> Dataset:
        """As `group`, but missing is an error too."""
        found = self.group(keyword)
        if found is None:
            raise UnsuitableImage(
                f"{keyword} is in neither {SHARED} nor {PER_FRAME}; an Enhanced CT image needs it (PS3.3 A.38.1.4)"
            )
        return found


def frame_groups(dataset: Dataset, count: int) -> tuple[FrameGroups, ...]:
    """The functional groups of each frame, in the order of the frames.

    Args:
        dataset: from `read_dicom`.
        count: NumberOfFrames.

    Raises:
        UnsuitableImage: not one item for each frame, or several shared ones.
    """
    shared, own = items(dataset, SHARED), items(dataset, PER_FRAME)
    if len(own) != count:
        raise UnsuitableImage(
            f"{PER_FRAME} has {len(own)} items, and NumberOfFrames is {count}; there must be one for each frame"
        )
    if len(shared) > 1:
        raise UnsuitableImage(f"{SHARED} has {len(shared)} items; it must have one")
    common = shared[0] if shared else Dataset()
    return tuple(FrameGroups(number, common, groups) for number, groups in enumerate(own, start=1))


def places(dataset: Dataset) -> list[Dataset]:
    """Where functional groups can be: the shared item and that of each frame, as far as they are there."""
    return [*items(dataset, SHARED), *items(dataset, PER_FRAME)]


def left_over(dataset: Dataset) -> list[Dataset]:
    """The attributes of converted images that no other functional group has, shared and of each frame."""
    return [item for place in places(dataset) for keyword in UNASSIGNED for item in items(place, keyword)]


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence; none when it is missing or empty.

    Raises:
        UnsuitableImage: the attribute is no sequence.
    """
    if keyword not in dataset:
        return []
    element = dataset[keyword]
    if element.VR != "SQ":
        raise UnsuitableImage(f"{keyword} is no sequence; its value representation is wrong")
    return list(element.value)

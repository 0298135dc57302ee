"""Each rule about frames finds what it is there for: a good instance is broken in one way, and one finding names it."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence


def frame(dataset, number):
    return dataset.PerFrameFunctionalGroupsSequence[number - 1]


def shared(dataset):
    return dataset.SharedFunctionalGroupsSequence[0]


def made_from(dataset, number):
    return frame(dataset, number).DerivationImageSequence[-1].SourceImageSequence[0]


def set_to(keyword, value):
    return lambda ds: setattr(ds, keyword, value)


def frame_type(*values):
    return lambda ds: setattr(shared(ds).CTImageFrameTypeSequence[0], "FrameType", list(values))


def moved(ds):
    frame(ds, 2).PlanePositionSequence[0].ImagePositionPatient = [0, 0, 0]


def other_kernel(ds):
    shared(ds).CTReconstructionSequence[0].ConvolutionKernel = "B70"


def reordered(ds):
    frame(ds, 1).FrameContentSequence, frame(ds, 2).FrameContentSequence = (
        frame(ds, 2).FrameContentSequence,
        frame(ds, 1).FrameContentSequence,
    )


def a_frame_less(ds):
    ds.PerFrameFunctionalGroupsSequence = Sequence(ds.PerFrameFunctionalGroupsSequence[:2])


def in_both_places(ds):
    frame(ds, 1).PixelValueTransformationSequence = Sequence()


def no_derivation(ds):
    del frame(ds, 3).DerivationImageSequence


def other_frame(ds):
    made_from(ds, 2).ReferencedFrameNumber = 3


def other_source(ds):
    made_from(ds, 2).ReferencedSOPInstanceUID = "1.9"


def no_purpose(ds):
    del made_from(ds, 1).PurposeOfReferenceCodeSequence


def no_description(ds):
    del frame(ds, 1).DerivationImageSequence[0].DerivationDescription


def other_evidence(ds):
    ds.SourceImageEvidenceSequence[0].ReferencedSeriesSequence[0].SeriesInstanceUID = "1.9"


def other_series(ds):
    ds.ReferencedSeriesSequence[0].SeriesInstanceUID = "1.9"


def other_rescale(ds):
    shared(ds).PixelValueTransformationSequence[0].RescaleIntercept = "0"


def no_unit(ds):
    del shared(ds).PixelValueTransformationSequence[0].RescaleType


def invented_window(ds):
    shared(ds).FrameVOILUTSequence[0].WindowWidth = "80"


def a_private_dimension(ds):
    ds.DimensionIndexSequence[0].DimensionIndexPointer = 0x20051011


def a_conversion(ds):
    frame(ds, 1).ConversionSourceAttributesSequence = Sequence([Dataset()])


BROKEN = {
    "DimensionIndexSequence must stay": set_to("DimensionIndexSequence", Sequence()),
    "VolumetricProperties must stay": set_to("VolumetricProperties", "SAMPLED"),
    "PlanePositionSequence of frame 2 must stay": moved,
    "CTReconstructionSequence of frame 1 must stay": other_kernel,
    "FrameContentSequence of frame 1 must stay": reordered,
    "must have one item for each frame": a_frame_less,
    "PixelValueTransformationSequence must be shared or per frame": in_both_places,
    "DimensionIndexSequence must not point to private": a_private_dimension,
    "RescaleIntercept is of single-frame images": set_to("RescaleIntercept", "-1024"),
    "SourceImageSequence is of single-frame images": set_to("SourceImageSequence", Sequence([Dataset()])),
    "FrameType of frame 1 must be DERIVED": frame_type("ORIGINAL", "PRIMARY", "VOLUME", "NONE"),
    "FrameType of frame 2 must be DERIVED": frame_type("DERIVED", "SECONDARY", "VOLUME", "FILTERED"),
    "FrameType of frame 3 must be DERIVED": frame_type("DERIVED", "PRIMARY", "VOLUME"),
    "FrameType value 3 of frame 1 must stay": frame_type("DERIVED", "PRIMARY", "AXIAL", "FILTERED"),
    "FrameType value 4 of frame 1 must be a defined term": frame_type("DERIVED", "PRIMARY", "VOLUME", "NICE"),
    "sum up value 4 of all frames": set_to("ImageType", ["DERIVED", "PRIMARY", "VOLUME", "MIXED"]),
    "ImageType value 3 must be there": set_to("ImageType", ["DERIVED", "PRIMARY", "MIXED", "FILTERED"]),
    "DerivationImageSequence of frame 3 must have one item more": no_derivation,
    "SourceImageSequence of frame 2 must name the same frame": other_frame,
    "of frame 2 must name the same frame of the source, and no other": other_source,
    "SourceImageSequence of frame 1 must say its purpose": no_purpose,
    "DerivationDescription and DerivationCodeSequence of frame 1": no_description,
    "SourceImageEvidenceSequence must list the source": other_evidence,
    "ReferencedSeriesSequence must list the source": other_series,
    "every frame must have the source's rescale and bits": other_rescale,
    "RescaleType of every frame must be HU": no_unit,
    "FrameVOILUTSequence of frame 1 must be the source's or absent": invented_window,
    "derived frames are no conversions": a_conversion,
    "PixelData must have the length": set_to("PixelData", bytes(12 * 16 * 2)),
    "NumberOfFrames must stay": set_to("NumberOfFrames", 2),
}


def test_a_good_instance_has_no_findings(frames_work, enhanced):
    assert frames_work(enhanced.enhanced_file(enhanced.enhanced_ct()), 3.0).findings() == ()


@pytest.mark.parametrize("finding", BROKEN)
def test_every_broken_rule_is_found(frames_work, enhanced, finding):
    made = frames_work(enhanced.enhanced_file(enhanced.enhanced_ct()), 3.0)
    BROKEN[finding](made.derived.dataset)
    found = made.findings()
    assert any(finding in one for one in found), found
    # nothing else is found but what the same change breaks in other frames
    assert len({one.replace("frame 1", "").replace("frame 2", "").replace("frame 3", "") for one in found}) <= 3

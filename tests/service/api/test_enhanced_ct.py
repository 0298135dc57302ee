"""Enhanced CT through the API: all frames in one request, in order, in each form of answer; every refusal is a 4xx."""

from __future__ import annotations

import io
import json

import jpeg_ls
import numpy as np
import pydicom
import pytest
import tifffile
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import JPEGLSLossless

pytestmark = pytest.mark.anyio


@pytest.fixture
def file(enhanced):
    return lambda *arguments, **changes: enhanced.enhanced_file(enhanced.enhanced_ct(*arguments, **changes))


def read(answer):
    return pydicom.dcmread(io.BytesIO(answer.content))


@pytest.mark.parametrize("legacy", [False, True])
async def test_all_frames_come_back_in_order_in_a_derived_instance(serve, file, enhanced, legacy):
    async with serve(offset=2.0) as client:
        answer = await client.post(file(legacy=legacy))
        seen = client.restorers["ct-tiny@1"].seen
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/dicom"
    assert (answer.headers["clearslice-frames"], answer.headers["clearslice-unit"]) == ("3", "HU")
    derived = read(answer)
    assert derived.SOPClassUID.name.endswith("Enhanced CT Image Storage")
    np.testing.assert_array_equal(derived.pixel_array, enhanced.stack_of() + 2)
    assert [batch.shape for batch in seen] == [(1, 12, 16, 1)] * 3
    assert [float(batch[0, 0, 0, 0]) for batch in seen] == [1000 - 1024, 1001 - 1024, 1002 - 1024]


async def test_strength_0_gives_back_every_stored_value_of_compressed_frames(serve, enhanced):
    stack = enhanced.stack_of(4, (33, 35))
    source = enhanced.enhanced_ct(stack, bits=12, rescales=[(1, -1024), (0.5, 0), (2, -3), (1, 7)])
    enhanced.compressed(source, [bytes(jpeg_ls.encode_array(frame)) for frame in stack], JPEGLSLossless, fragments=2)
    async with serve(offset=9.0) as client:
        answer = await client.post(enhanced.enhanced_file(source), strength="0")
    assert answer.status_code == 200, answer.text
    assert read(answer).PixelData == stack.astype("<u2").tobytes()


async def test_as_tiff_and_as_npy_stacks_of_hu(serve, file, enhanced):
    async with serve(offset=0.25) as client:
        as_tiff = await client.post(file(), headers={"accept": "image/tiff"})
        as_npy = await client.post(file(), headers={"accept": "application/x-npy"})
        as_png = await client.post(file(), headers={"accept": "image/png"})
    expected = enhanced.stack_of().astype(np.float32) - np.float32(1023.75)
    with tifffile.TiffFile(io.BytesIO(as_tiff.content)) as pages:
        np.testing.assert_array_equal(np.stack([page.asarray() for page in pages.pages]), expected)
        assert pages.pages[0].tags["XResolution"].value[0] / pages.pages[0].tags["XResolution"].value[1] == (
            pytest.approx(10 / 0.7, rel=1e-6)
        )
    np.testing.assert_array_equal(np.load(io.BytesIO(as_npy.content)), expected)
    assert as_png.status_code == 406
    assert "the answer of 3 frames" in as_png.json()["detail"]


async def test_metrics_against_a_multi_frame_reference(serve, file, enhanced, npy):
    stack = enhanced.stack_of()
    degraded = stack + np.array([1, 2, 6], np.uint16)[:, None, None]
    async with serve(offset=-1.0) as client:
        answer = await client.post(
            file(degraded, bits=12), reference=file(stack, bits=12), headers={"accept": "application/json"}
        )
        by_npy = await client.post(
            file(degraded, bits=12), reference=npy(stack - np.float32(1024)), rescale_slope="1", rescale_intercept="0"
        )
        fewer = await client.post(file(), reference=file(enhanced.stack_of(2), bits=12))
    document = answer.json()
    assert (document["image"]["media_type"], document["image"]["frames"]) == ("application/dicom", 3)
    full = document["metrics"][1]
    assert [frame["restored"]["bias"] for frame in full["frames"]] == [0, 1, 5]
    assert full["degraded"]["bias"] == 3
    assert json.loads(by_npy.headers["clearslice-metrics"])[1]["restored"]["bias"] == 2
    assert (fewer.status_code, fewer.json()["type"]) == (422, "/problems/unsuitable-image")
    assert "the reference has 2 frames and the image 3 frames" in fewer.json()["detail"]


async def test_one_frame_that_leaves_the_encoding_takes_the_others_along(serve, file):
    def brighten_third(batch):
        return batch + np.float32(30000 if batch[0, 0, 0, 0] == 1002 - 1024 else 0)

    async with serve(answer=brighten_third) as client:
        answer = await client.post(file())
    derived = read(answer)
    assert (derived.BitsStored, derived.PixelRepresentation) == (16, 1)
    assert derived.pixel_array[:, 0, 0].tolist() == [-24, -23, 29978]


async def test_too_many_frames_say_what_to_do(serve, file, enhanced):
    async with serve(max_frames=2) as client:
        many = await client.post(file())
    async with serve(max_upload_bytes=20_000) as client:
        large = await client.post(file(enhanced.stack_of(40, (12, 16)).astype(np.uint8), bits=8))
    assert (many.status_code, many.json()["setting"]) == (413, "CLEARSLICE_MAX_FRAMES")
    assert "whole series of hundreds in one are not taken yet" in many.json()["detail"]
    assert (large.status_code, large.json()["setting"]) == (413, "CLEARSLICE_MAX_UPLOAD_BYTES")


def own_groups(change):
    def changed(dataset):
        for groups in dataset.PerFrameFunctionalGroupsSequence:
            change(groups)

    return changed


def add_element(keyword, vr, value):
    return lambda dataset: dataset.add_new(keyword, vr, value)


def in_shared(keyword, **attributes):
    def changed(dataset):
        for name, value in attributes.items():
            setattr(dataset.SharedFunctionalGroupsSequence[0][keyword].value[0], name, value)

    return changed


def top(keyword, value):
    return lambda dataset: setattr(dataset, keyword, value)


def without(keyword):
    return lambda dataset: dataset.__delattr__(keyword)


EMPTY = Sequence([])
TWO = Sequence([Dataset(), Dataset()])
BAD = {
    "no groups": without("PerFrameFunctionalGroupsSequence"),
    "empty groups": top("PerFrameFunctionalGroupsSequence", EMPTY),
    "no shared groups": without("SharedFunctionalGroupsSequence"),
    "two shared groups": top("SharedFunctionalGroupsSequence", TWO),
    "groups that are text": add_element("PerFrameFunctionalGroupsSequence", "LO", "frames"),
    "a group that is text": own_groups(add_element("PixelMeasuresSequence", "LO", "0.7")),
    "two rescales": own_groups(lambda groups: setattr(groups, "PixelValueTransformationSequence", TWO)),
    "equipment that is text": add_element("ContributingEquipmentSequence", "LO", "scanner"),
    "number of frames": top("NumberOfFrames", 2),
    "enormous number of frames": top("NumberOfFrames", 2**31 - 1),
    "no number of frames": without("NumberOfFrames"),
    "several numbers of frames": top("NumberOfFrames", [1, 2]),
    "localizer": in_shared("CTImageFrameTypeSequence", FrameType=["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]),
    "multi-energy map": in_shared("CTImageFrameTypeSequence", FrameType=["DERIVED", "PRIMARY", "VOLUME", "VMI"]),
    "multi-energy": top("MultienergyCTAcquisition", "YES"),
    "not HU": in_shared("PixelValueTransformationSequence", RescaleType="EDW"),
    "no slope": in_shared("PixelValueTransformationSequence", RescaleSlope=None),
    "spacing": in_shared("PixelMeasuresSequence", PixelSpacing=["0", "1"]),
    "in colour": top("PixelPresentation", "COLOR"),
    "burned in": top("BurnedInAnnotation", "YES"),
    "concatenation": top("ConcatenationUID", "1.2.3"),
    "truncated": top("PixelData", bytes(100)),
    "a frame too many": top("PixelData", bytes(4 * 12 * 16 * 2)),
    "no pixels": without("PixelData"),
    "ordinary CT": top("SOPClassUID", "1.2.840.10008.5.1.4.1.1.2"),
    "MR": top("SOPClassUID", "1.2.840.10008.5.1.4.1.1.4.1"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("accept", ["application/dicom", "application/x-npy"])
async def test_bad_inputs_are_4xx_with_the_reason(serve, enhanced, name, accept):
    source = enhanced.enhanced_ct()
    BAD[name](source)
    async with serve() as client:
        answer = await client.post(enhanced.enhanced_file(source), headers={"accept": accept})
        after = await client.post(enhanced.enhanced_file(enhanced.enhanced_ct()))
    assert answer.status_code in {400, 413, 422}, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.json()["detail"]) > 20
    assert "M\xfcller" not in answer.text
    assert after.status_code == 200


ODD = {
    "two windows": in_shared("FrameVOILUTSequence", WindowCenter=["40", "50"], WindowWidth=["400"]),
    "groups in both places": own_groups(lambda groups: setattr(groups, "FrameAnatomySequence", Sequence([Dataset()]))),
    "several exposures": lambda dataset: setattr(dataset.SharedFunctionalGroupsSequence[0], "CTExposureSequence", TWO),
    "an icon inside": own_groups(lambda groups: setattr(groups.FrameContentSequence[0], "IconImageSequence", TWO)),
    "an overlay inside": own_groups(lambda groups: groups.add_new(0x60000010, "US", 3)),
    "empty derivations": own_groups(lambda groups: setattr(groups, "DerivationImageSequence", EMPTY)),
    "no image type": without("ImageType"),
    "long frame type": in_shared("CTImageFrameTypeSequence", FrameType=["ORIGINAL"] * 7),
    "no anything at the top": lambda dataset: [
        delattr(dataset, keyword) for keyword in ("DimensionIndexSequence", "PixelPresentation", "SpecificCharacterSet")
    ],
    "evidence without a study": top("SourceImageEvidenceSequence", TWO),
    "numbers of instances as text": top("ReferencedSeriesSequence", Sequence([Dataset()])),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"])
async def test_what_is_only_odd_is_derived_all_the_same(serve, enhanced, name, syntax):
    source = enhanced.enhanced_ct(syntax=syntax)
    ODD[name](source)
    async with serve(offset=1.0) as client:
        answer = await client.post(enhanced.enhanced_file(source))
    assert answer.status_code == 200, answer.text
    np.testing.assert_array_equal(read(answer).pixel_array, enhanced.stack_of() + 1)

"""POST /v1/images of DICOM whose attributes are missing, malformed or of another kind: what cannot be told is null."""

from __future__ import annotations

import io

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

pytestmark = pytest.mark.anyio


MALFORMED = {
    "widths and centers that are not as many": ({"WindowCenter": ["40", "50"]}, "windows", []),
    "a width below one": (
        {"WindowCenter": ["40", "50"], "WindowWidth": ["0.5", "80"]},
        "windows",
        [{"center": 50, "width": 80, "explanation": None}],
    ),
    "explanations that are not as many": (
        {"WindowCenterWidthExplanation": ["A", "B"]},
        "windows",
        [{"center": 40, "width": 400, "explanation": None}],
    ),
    "no window": ({"WindowCenter": None, "WindowWidth": None}, "windows", []),
    "an oblique plane": (
        {"ImageOrientationPatient": ["1", "0", "0", "0", "0", "-1"], "ImagePositionPatient": ["1", "-3", "5"]},
        "positions",
        [-3],
    ),
    "planes that are not perpendicular": (
        {"ImageOrientationPatient": ["1", "0", "0", "1", "0", "0"]},
        "positions",
        [None],
    ),
    "no position": ({"ImagePositionPatient": None}, "positions", [None]),
    "two coordinates": ({"ImagePositionPatient": ["1", "2"]}, "orientation", None),
    "several numbers": ({"InstanceNumber": ["1", "2"]}, "instance_number", None),
    "a number beyond those of DICOM": ({"InstanceNumber": "99999999999"}, "instance_number", None),
    "no thickness": ({"SliceThickness": ""}, "slice_thickness", None),
    "a negative thickness": ({"SliceThickness": "-1"}, "slice_thickness", None),
    "several kernels": ({"ConvolutionKernel": ["B31f", "3"]}, "kernel", "B31f/3"),
    "no kernel": ({"ConvolutionKernel": None}, "kernel", None),
    "a derived image": ({"ImageType": ["DERIVED", "SECONDARY"]}, "derived", True),
    "no image type": ({"ImageType": None}, "derived", False),
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_what_is_malformed_is_null(serve, ct_slice, name):
    attributes, member, expected = MALFORMED[name]
    async with serve() as client:
        answer = await client.look(ct_slice(**attributes), noise="false")
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert (said if member == "windows" else said["instance"])[member] == expected


def rewritten(vr, value, *keywords):
    return lambda dataset: [dataset.add_new(keyword, vr, value) for keyword in keywords]


SEQUENCE = Sequence([Dataset()])
BROKEN = {
    "text for windows": (rewritten("LO", "M\xfcller", "WindowCenter"), []),
    "text for numbers": (
        rewritten("LO", "M\xfcller", "SliceThickness", "InstanceNumber"),
        ["slice_thickness", "instance_number"],
    ),
    "text for a place": (rewritten("LO", ["a", "b", "c"], "ImagePositionPatient"), ["positions", "orientation"]),
    "text for a direction": (rewritten("LO", "M\xfcller", "ImageOrientationPatient"), ["positions", "orientation"]),
    "a window without end": (rewritten("FD", float("inf"), "WindowWidth"), []),
    "a place without end": (
        lambda dataset: [
            dataset.add_new("ImagePositionPatient", "FD", [1.7e308] * 3),
            dataset.add_new("ImageOrientationPatient", "FD", [0.7, 0, -(0.51**0.5), 0, 1, 0]),
        ],
        ["positions"],
    ),
    "sequences": (
        rewritten("SQ", SEQUENCE, "ConvolutionKernel", "WindowWidth", "InstanceNumber", "SliceThickness"),
        ["kernel", "instance_number", "slice_thickness"],
    ),
    "bytes": (
        rewritten("OB", b"\xff\xfe", "ConvolutionKernel", "WindowWidth", "SliceThickness"),
        ["kernel", "slice_thickness"],
    ),
    "a name for a UID": (rewritten("LO", "M\xfcller", "SeriesInstanceUID"), ["series_instance_uid"]),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_value_representations_that_are_wrong_make_nulls(serve, ct_dataset, name):
    change, nulls = BROKEN[name]
    dataset = ct_dataset()
    change(dataset)
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    async with serve() as client:
        answer = await client.look(file.getvalue(), noise="false")
    assert answer.status_code == 200, answer.text
    assert "ller" not in answer.text
    said = answer.json()
    assert [member for member, value in said["instance"].items() if value in (None, [None])] == sorted(
        nulls, key=list(said["instance"]).index
    )
    assert (said["windows"] == []) is ("window" in name or name in {"sequences", "bytes"})

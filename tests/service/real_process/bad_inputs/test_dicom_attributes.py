"""DICOM attributes that are missing, contradict each other, or say that this is no CT slice (items 6, 10 to 14)."""

from __future__ import annotations

import pytest

ATTRIBUTES = {
    "Rows 0": ({"Rows": 0}, "unsuitable-image"),
    "Rows and Columns 65535": ({"Rows": 65535, "Columns": 65535}, "image-too-large"),
    "Rows more than the pixels": ({"Rows": 200, "Columns": 200}, "not-an-image"),
    "BitsAllocated 12": ({"BitsAllocated": 12}, "unsuitable-image"),
    "BitsStored 20": ({"BitsStored": 20}, "unsuitable-image"),
    "HighBit not BitsStored - 1": ({"HighBit": 3}, "unsuitable-image"),
    "RescaleIntercept empty": ({"RescaleIntercept": None}, "unsuitable-image"),
    "RescaleSlope 0": ({"RescaleSlope": "0"}, "unsuitable-image"),
    "RescaleSlope missing": ({"drop": ("RescaleSlope",)}, "unsuitable-image"),
    "Rows missing": ({"drop": ("Rows",)}, "unsuitable-image"),
    "PhotometricInterpretation missing": ({"drop": ("PhotometricInterpretation",)}, "unsuitable-image"),
    "PixelRepresentation missing": ({"drop": ("PixelRepresentation",)}, "unsuitable-image"),
    "RGB": ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, "unsuitable-image"),
    "palette": ({"PhotometricInterpretation": "PALETTE COLOR"}, "unsuitable-image"),
    "secondary capture": ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "Modality": "OT"}, "unsuitable-image"),
    "MR": ({"Modality": "MR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"}, "unsuitable-image"),
    "localizer": ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "unsuitable-image"),
    "RescaleType Z_EFF": ({"RescaleType": "Z_EFF"}, "unsuitable-image"),
    "multi-energy": ({"MultienergyCTAcquisition": "YES"}, "derivation-refused"),
    "virtual monoenergetic": ({"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "VMI"]}, "derivation-refused"),
    "burned in": ({"BurnedInAnnotation": "YES"}, "derivation-refused"),
    "no StudyInstanceUID": ({"drop": ("StudyInstanceUID",)}, "derivation-refused"),
    "UID with a path": ({"SeriesInstanceUID": "../../etc/passwd"}, "derivation-refused"),
}


@pytest.mark.parametrize("name", ATTRIBUTES)
@pytest.mark.filterwarnings("ignore::UserWarning")  # of pydicom, about the bad values while the file is made
def test_attributes_that_make_no_ct_slice(refuse, ct_slice, name):
    attributes, slug = ATTRIBUTES[name]
    problem = refuse(ct_slice(**attributes), slug)
    assert "passwd" not in str(problem)


@pytest.mark.parametrize("text", [b"abc ", b"nan ", b"inf ", b"1e400 ", b"1,5 ", b"\\1\\2 ", b"      ", b"9e307 "])
@pytest.mark.parametrize("attribute", ["RescaleIntercept", "RescaleSlope"])
def test_a_rescale_that_is_no_number(client, refuse, ct_slice, attribute, text):
    data = ct_slice(**{attribute: "-77777"})
    assert data.count(b"-77777") == 1
    answer = client.post("/v1/reconstructions", files={"image": data.replace(b"-77777", text.ljust(6))})
    assert answer.json()["type"] in {"/problems/not-an-image", "/problems/unsuitable-image"}
    refuse(data.replace(b"-77777", text.ljust(6)), answer.json()["type"].removeprefix("/problems/"))


FINE = {
    "MONOCHROME1": {"PhotometricInterpretation": "MONOCHROME1"},
    "padding beyond the pixels": {"PixelPaddingValue": -2000},
    "non-square pixels": {"PixelSpacing": ["0.7", "0.9"]},
    "gantry tilt": {"GantryDetectorTilt": "20", "ImageOrientationPatient": ["1", "0", "0", "0", "0.94", "-0.34"]},
    "names in another character set": {"SpecificCharacterSet": "ISO_IR 144", "PatientName": "\u0418\u0432\u0430\u043d"},
}


@pytest.mark.parametrize("name", FINE)
def test_what_is_unusual_is_taken_or_refused_with_its_reason(client, ct_slice, name):
    answer = client.post("/v1/reconstructions", files={"image": ct_slice(**FINE[name])})
    assert answer.status_code in {200, 422}, answer.text
    assert answer.status_code == 200 or len(answer.json()["detail"]) > 30

"""Each rule finds what it is there for: a good derived instance is broken in one way, and one finding names it."""

from __future__ import annotations

import numpy as np
import pytest
from openjpeg.utils import encode_array
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import JPEG2000

from service.dicom import rules
from service.errors import RuleViolated


def make_original(ds):
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]


def add_fourth(ds):
    ds.ImageType = ["DERIVED", "PRIMARY", "AXIAL", "X"]


def other_source(ds):
    ds.SourceImageSequence[0].ReferencedSOPInstanceUID = "1.9"


def no_purpose(ds):
    del ds.SourceImageSequence[0].PurposeOfReferenceCodeSequence


def private(ds):
    item = Dataset()
    item.private_block(0x0011, "X", create=True).add_new(1, "LO", "x")
    ds.RequestAttributesSequence = Sequence([item])


def forget_us(ds):
    ds.ContributingEquipmentSequence = Sequence(ds.ContributingEquipmentSequence[:1])


def fill_padding(ds):
    data = np.frombuffer(ds.PixelData, "<i2").copy()
    data[-1] = -2000
    ds.PixelData = data.tobytes()


def drop(keyword):
    return lambda ds: ds.__delattr__(keyword)


def set_to(keyword, value):
    return lambda ds: setattr(ds, keyword, value)


BROKEN = {
    "PatientID": set_to("PatientID", "P2"),
    "StudyInstanceUID": set_to("StudyInstanceUID", "1.2.4"),
    "ImagePositionPatient": set_to("ImagePositionPatient", [0, 0, 0]),
    "CTDIvol": set_to("CTDIvol", 3.0),
    "SOPInstanceUID must be": set_to("SOPInstanceUID", "1.2.9"),
    "MediaStorageSOPInstanceUID": set_to("SOPInstanceUID", "2.25.99"),
    "SeriesInstanceUID": set_to("SeriesInstanceUID", "1.2.3.4"),
    "ImageType": make_original,
    "ImageType must be": add_fourth,
    "SourceImageSequence must name": other_source,
    "SourceImageSequence must": drop("SourceImageSequence"),
    "SourceImageSequence must say": no_purpose,
    "DerivationDescription": drop("DerivationDescription"),
    "DerivationCodeSequence": drop("DerivationCodeSequence"),
    "ContentQualification": drop("ContentQualification"),
    "ContributingEquipmentSequence": forget_us,
    "(0011,": private,
    "(6000,": lambda ds: ds.add_new(0x60000010, "US", 1),
    "IconImageSequence": lambda ds: setattr(ds, "IconImageSequence", Sequence([Dataset()])),
    "SmallestImagePixelValue": set_to("SmallestImagePixelValue", 0),
    "LossyImageCompression": drop("LossyImageCompression"),
    "WindowCenter must be the source's": set_to("WindowCenter", "50"),
    "WindowCenter and WindowWidth": drop("WindowWidth"),
    "PixelData": lambda ds: setattr(ds, "PixelData", ds.PixelData + b"\0\0"),
    "sign of the pixels": lambda ds: ds.add_new("PixelPaddingValue", "US", 63536),
    "declared exactly": drop("PixelPaddingValue"),
    "only padding pixels": fill_padding,
}


@pytest.fixture
def made(work, ct_slice):
    past = {
        "LossyImageCompression": "01",
        "LossyImageCompressionRatio": "8",
        "LossyImageCompressionMethod": "ISO_15444_1",
    }
    stored = np.array([[-2000, 10], [20, 30]], np.int16)
    return work(ct_slice(stored, PixelPaddingValue=-2000, **past), 3.0)


def test_a_good_instance_has_no_findings(made):
    assert rules.findings(made.image.dataset, made.derived.dataset, padding=made.image.padding) == ()


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_instance_is_found(made, name):
    BROKEN[name](made.derived.dataset)
    found = rules.findings(made.image.dataset, made.derived.dataset, padding=made.image.padding)
    key = "6000,0010" if name.startswith("(6000") else name.strip("(")
    if name == "IconImageSequence":
        key = "0088,0200"
    assert any(key in finding for finding in found), found
    with pytest.raises(RuleViolated) as caught:
        rules.check(made.image.dataset, made.derived.dataset, padding=made.image.padding)
    assert caught.value.findings == found
    assert "P2" not in " ".join(found)


def test_a_lossy_source_must_be_marked_with_ratio_and_method(made):
    source = made.image.dataset
    source.file_meta.TransferSyntaxUID = JPEG2000
    pixels = np.zeros((32, 32), np.uint16)
    stream = encode_array(pixels, photometric_interpretation=2, use_mct=False, codec_format=0)
    source.PixelData = encapsulate([bytes(stream)])
    source["PixelData"].is_undefined_length = True
    made.derived.dataset.LossyImageCompressionRatio = None
    found = rules.findings(made.image.dataset, made.derived.dataset, padding=made.image.padding)
    assert found == ("LossyImageCompression 01 must come with ratio and method",)

"""From which instances none is derived, and which of them are our own."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from service.dicom.eligibility import check_source, made_here
from service.dicom.identity import device_uid
from service.errors import DerivationRefused
from service.settings import SiteConventions

SITE = SiteConventions()


def contributor(serial, uid):
    item = Dataset()
    item.DeviceSerialNumber, item.DeviceUID = serial, uid
    return Sequence([Dataset(), item])


REFUSED = {
    "SOPInstanceUID": {"SOPInstanceUID": None},
    "SeriesInstanceUID": {"drop": ("SeriesInstanceUID",)},
    "StudyInstanceUID": {"StudyInstanceUID": ["1.2", "1.3"]},
    "multi-energy": {"MultienergyCTAcquisition": "YES"},
    "multi-energy map": {"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "EFF_ATOMIC_NUM"]},
    "CLEARSLICE_DICOM__ALLOW_BURNED_IN_ANNOTATION": {"BurnedInAnnotation": "YES"},
    "already a reconstruction": {"ContributingEquipmentSequence": contributor("ab" * 32, device_uid("ab" * 32))},
}

ACCEPTED = {
    "plain": {},
    "one energy": {"MultienergyCTAcquisition": "NO"},
    "no text in the pixels": {"BurnedInAnnotation": "NO"},
    "no image type": {"drop": ("ImageType",)},
    "processed by somebody else": {"ContributingEquipmentSequence": contributor("ab" * 32, "1.2.3")},
    "secondary": {"ImageType": ["DERIVED", "SECONDARY", "PROCESSED"]},
}


@pytest.mark.parametrize("reason", REFUSED)
def test_refused(ct_dataset, reason):
    with pytest.raises(DerivationRefused, match=reason):
        check_source(ct_dataset(**REFUSED[reason]), SITE)


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(ct_dataset, name):
    check_source(ct_dataset(**ACCEPTED[name]), SITE)


def test_burned_in_annotation_is_the_sites_choice(ct_dataset):
    check_source(ct_dataset(BurnedInAnnotation="YES"), SiteConventions(allow_burned_in_annotation=True))


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"])
def test_lossy_jpeg_with_signed_pixels(ct_dataset, syntax):
    dataset = ct_dataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    with pytest.raises(DerivationRefused, match="12-bit"):
        check_source(dataset, SITE)
    dataset.PixelRepresentation = 0
    check_source(dataset, SITE)


def test_our_own_output_is_known_by_any_weights(work, ct_slice):
    for weights in ("0" * 64, "f" * 64):
        assert made_here(work(ct_slice(), weights_sha256=weights).written())
    assert not made_here(Dataset())

"""Where the frames of a derived multi-frame instance come from.

source, frame number --derivation_item--> an item of DerivationImageSequence (PS3.3 C.7.6.16.2.6)
source --add_evidence--> SourceImageEvidenceSequence, ReferencedSeriesSequence (C.8.15.2, C.12.2)
"""

from __future__ import annotations

from pydicom import Dataset
from pydicom.sequence import Sequence

from imaging.dicom_attributes import text
from imaging.functional_groups import items
from service.dicom.derived_instance import SHORT_TEXT, SMOOTHING, SOURCE_IMAGE, derivation_text
from service.dicom.equipment import code_item
from service.dicom.identity import Derivation


def derivation_item(source: Dataset, frame: int, derivation: Derivation) -> Dataset:
    """What was done, and to which frame (from 1) of which instance."""
    image = _reference(source)
    image.ReferencedFrameNumber = frame
    image.PurposeOfReferenceCodeSequence = Sequence([code_item(*SOURCE_IMAGE)])
    image.SpatialLocationsPreserved = "YES"
    item = Dataset()
    item.DerivationDescription = derivation_text(derivation)[:SHORT_TEXT]
    item.DerivationCodeSequence = Sequence([code_item(*SMOOTHING)])
    item.SourceImageSequence = Sequence([image])
    return item


def add_evidence(derived: Dataset, source: Dataset) -> None:
    """Lists the source among the instances that `derived` was made from and refers to, beside those that it lists."""
    study, series = text(source, "StudyInstanceUID"), text(source, "SeriesInstanceUID")
    evidence = _item_with(derived, "SourceImageEvidenceSequence", "StudyInstanceUID", study)
    of_series = _item_with(evidence, "ReferencedSeriesSequence", "SeriesInstanceUID", series)
    _add_reference(of_series, "ReferencedSOPSequence", source)
    of_series = _item_with(derived, "ReferencedSeriesSequence", "SeriesInstanceUID", series)
    _add_reference(of_series, "ReferencedInstanceSequence", source)


def _reference(source: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    return item


def _add_reference(dataset: Dataset, keyword: str, source: Dataset) -> None:
    before = items(dataset, keyword)
    if not any(text(item, "ReferencedSOPInstanceUID") == source.SOPInstanceUID for item in before):
        dataset.add_new(keyword, "SQ", Sequence([*before, _reference(source)]))


def _item_with(dataset: Dataset, sequence: str, keyword: str, uid: str) -> Dataset:
    """The item of a sequence that is about a study or series, made where there is none."""
    before = items(dataset, sequence)
    found = next((item for item in before if text(item, keyword) == uid), None)
    if found is None:
        found = Dataset()
        setattr(found, keyword, uid)
        dataset.add_new(sequence, "SQ", Sequence([*before, found]))
    return found

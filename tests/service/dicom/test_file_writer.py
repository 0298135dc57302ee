"""What `write_instance` writes, beside pydicom's own writer."""

from __future__ import annotations

import copy
import io
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given
from pydicom import DataElement, Dataset, dcmwrite
from pydicom.charset import python_encoding
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from imaging.dicom_file import SourceInstance
from service.dicom.derived_instance import Derived
from service.dicom.file_writer import write_instance

TEXTS = {  # declared character set -> what it can write
    None: st.characters(min_codepoint=32, max_codepoint=126),
    "ISO_IR 100": st.characters(min_codepoint=32, max_codepoint=255, blacklist_categories=["Cc"]),
    "ISO_IR 192": st.characters(codec="utf-8", blacklist_categories=["Cc", "Cs"]),
    "ISO_IR 13": st.characters(min_codepoint=32, max_codepoint=126),
    ("ISO 2022 IR 6", "ISO 2022 IR 87"): st.sampled_from("Az09 ~頭部三郎"),
}


def either(one: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """None, one value or several."""
    return st.none() | one | st.lists(one, max_size=3)


def elements(characters: st.SearchStrategy[str]) -> dict[str, tuple[str, st.SearchStrategy[Any]]]:
    """Keyword -> its VR, and values of it."""
    text = st.text(characters.filter(lambda one: one != "\\"), max_size=12)
    lines = st.text(characters | st.sampled_from("\r\n\t\x1b\\"), max_size=40)
    ascii_text = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="\\"), max_size=16)
    words = st.none() | st.binary(max_size=4).map(lambda data: data * 8)
    return {
        "RetrieveAETitle": ("AE", either(ascii_text)),
        "FrameIncrementPointer": ("AT", either(st.integers(0, 2**32 - 1))),
        "ImageType": ("CS", either(ascii_text)),
        "PatientAge": ("AS", either(st.just("045Y"))),
        "CalibrationDate": ("DA", either(st.dates().map(lambda day: f"{day.year:04}{day:%m%d}") | st.just(""))),
        "PixelSpacing": ("DS", either(st.integers(-(10**6), 10**6).map(lambda n: f"{n / 1000}"))),
        "AcquisitionDateTime": ("DT", either(st.just("20250102101112.5+0100"))),
        "SliceLocationVector": ("FL", either(st.floats(width=32, allow_nan=False))),
        "ExposureTimeInms": ("FD", either(st.floats(allow_nan=False))),
        "InstanceNumber": ("IS", either(st.integers(-(2**31), 2**31 - 1))),
        "ProtocolName": ("LO", either(text)),
        "ImageComments": ("LT", st.none() | lines),
        "ICCProfile": ("OB", st.none() | st.binary(max_size=9)),
        "RedPaletteColorLookupTableData": ("OW", words),
        "FloatPixelData": ("OF", words),
        "DoubleFloatPixelData": ("OD", words),
        "LongPrimitivePointIndexList": ("OL", words),
        "ExtendedOffsetTable": ("OV", words),
        "00289999": ("UN", words),  # of no standard
        "PatientName": ("PN", either(text)),
        "StationName": ("SH", either(text)),
        "ReferencePixelX0": ("SL", either(st.integers(-(2**31), 2**31 - 1))),
        "PixelPaddingValue": ("SS", either(st.integers(-(2**15), 2**15 - 1))),
        "DerivationDescription": ("ST", st.none() | lines),
        "ContentTime": ("TM", either(st.just("101112.000001") | st.just(""))),
        "StrainDescription": ("UC", either(text)),
        "StudyInstanceUID": ("UI", either(st.sampled_from(["1.2.3", "2.25.10", ""]))),
        "SimpleFrameList": ("UL", either(st.integers(0, 2**32 - 1))),
        "RetrieveURL": ("UR", st.none() | ascii_text),
        "Rows": ("US", either(st.integers(0, 2**16 - 1))),
        "TextValue": ("UT", st.none() | lines),
    }


@st.composite
def data_sets(draw: st.DrawFn, declared: Any, depth: int = 2) -> Dataset:
    """With some of `elements`, and sequences of such data sets."""
    found = Dataset()
    if declared is not None and draw(st.booleans()):
        found.SpecificCharacterSet = list(declared) if isinstance(declared, tuple) else declared
    possible = elements(TEXTS[declared])
    for keyword in draw(st.lists(st.sampled_from(sorted(possible)), unique=True, max_size=6)):
        vr, values = possible[keyword]
        found.add(DataElement(Tag(keyword), vr, draw(values), validation_mode=0))
    if depth:
        items = st.lists(data_sets(declared, depth - 1), max_size=2)
        for keyword in draw(st.lists(st.sampled_from(["SourceImageSequence", "DerivationCodeSequence"]), unique=True)):
            found.add_new(Tag(keyword), "SQ", Sequence(draw(items)))
    return found


@pytest.mark.parametrize("declared", TEXTS)
@given(data=st.data())
def test_pydicom_writes_the_same(declared, data):
    dataset = data.draw(data_sets(declared))
    if declared is not None:
        dataset.SpecificCharacterSet = list(declared) if isinstance(declared, tuple) else declared
    assert written(dataset) == by_pydicom(dataset)


@pytest.mark.parametrize("declared", sorted(python_encoding))
@pytest.mark.filterwarnings("ignore::UserWarning")  # of pydicom: some of these never stand alone
def test_ascii_is_the_same_in_each_character_set(declared):
    dataset = Dataset()
    dataset.SpecificCharacterSet, dataset.ImageComments = declared, "".join(map(chr, range(128)))
    assert written(dataset) == by_pydicom(dataset)


def written(dataset: Dataset) -> bytes:
    """By our writer, with a source that has nothing of it."""
    source = SourceInstance(io.BytesIO(), Dataset(), None, FileMetaDataset(), False, True)
    source.raw_values = {}
    return write_instance(Derived(instance(dataset), None, ()), source)


def by_pydicom(dataset: Dataset) -> bytes:
    """By its own writer."""
    again = io.BytesIO()
    dcmwrite(again, instance(dataset), enforce_file_format=True)
    return again.getvalue()


def instance(dataset: Dataset) -> FileDataset:
    """A file of a data set, which is copied, as `derive` makes them."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, "2.25.7"
    meta.TransferSyntaxUID, meta.ImplementationClassUID = ExplicitVRLittleEndian, "2.25.8"
    meta.ImplementationVersionName = "CLEARSLICE"
    return FileDataset(
        io.BytesIO(), copy.deepcopy(dataset), b"\0" * 128, meta, is_implicit_VR=False, is_little_endian=True
    )

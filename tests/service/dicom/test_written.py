"""What is written anew has the VR of the standard, whatever the source declared."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset

from service.dicom.written import put


def test_the_vr_of_the_dictionary_replaces_that_of_the_source():
    dataset = Dataset()
    dataset.add_new("ContentQualification", "SS", 3)
    put(dataset, ContentQualification="RESEARCH", SeriesNumber=None)
    assert (dataset["ContentQualification"].VR, dataset.ContentQualification) == ("CS", "RESEARCH")
    assert (dataset["SeriesNumber"].VR, dataset.SeriesNumber) == ("IS", None)


def test_a_keyword_that_is_none_is_refused():
    """pydicom would make it an attribute of the Python object, which is never written."""
    for keyword in ("ContentQualifications", "Facade"):
        with pytest.raises(ValueError, match=keyword):
            put(Dataset(), **{keyword: "x"})


@pytest.mark.parametrize(
    "element",
    [
        ("ContentQualification", "SS", 3),
        ("SeriesNumber", "LO", "two"),
        ("SeriesDescription", "FD", 2.5),
        ("ImageType", "US", 7),
        ("ContentDate", "UL", 5),
        ("DerivationDescription", "SS", 5),
        ("Manufacturer", "US", 5),
    ],
)
def test_a_source_with_a_wrong_vr_can_be_derived_from(work, ct_dataset, to_file, element):
    source = ct_dataset(drop=element[:1])
    source.add_new(*element)
    made = work(to_file(source), 1.0)
    assert made.written().ContentQualification == "RESEARCH"

"""Attributes as plain values."""

from __future__ import annotations

import pytest
from pydicom import Dataset
from pydicom.dataelem import DataElement

from imaging.dicom_attributes import decimals, integer, text, values
from imaging.errors import UnsuitableImage


@pytest.fixture
def dataset():
    dataset = Dataset()
    dataset.KVP = "120.5"
    dataset.PixelSpacing = ["0.5", "0.75"]
    dataset.Rows = 512
    dataset.NumberOfFrames = "3"
    dataset.Modality = "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.RescaleSlope = None
    dataset.RescaleType = ""
    dataset.add(DataElement("Manufacturer", "LO", " Maker "))
    dataset.add(DataElement("SliceThickness", "LO", "SECRET"))  # text where a number belongs
    return dataset


def test_values(dataset):
    assert values(dataset, "PixelSpacing") == [0.5, 0.75]
    assert values(dataset, "Modality") == ["CT"]
    assert values(dataset, "Rows") == [512]
    for absent in ("RescaleSlope", "RescaleType", "Columns"):
        assert values(dataset, absent) == []


def test_text(dataset):
    assert text(dataset, "Manufacturer") == "Maker"
    for other in ("ImageType", "RescaleType", "Rows", "StudyDescription"):
        assert text(dataset, other) == ""


def test_integer(dataset):
    assert integer(dataset, "Rows") == 512
    assert integer(dataset, "NumberOfFrames", missing=1) == 3
    assert integer(dataset, "Columns", missing=7) == 7
    with pytest.raises(UnsuitableImage, match="Columns is missing or empty"):
        integer(dataset, "Columns")
    for other in ("PixelSpacing", "KVP", "Modality"):
        with pytest.raises(UnsuitableImage, match=f"{other} must be one integer"):
            integer(dataset, other)


def test_decimals(dataset):
    assert decimals(dataset, "KVP", count=1) == (120.5,)
    assert decimals(dataset, "PixelSpacing", count=2) == (0.5, 0.75)
    assert decimals(dataset, "RescaleSlope", count=1) == ()
    with pytest.raises(UnsuitableImage, match="PixelSpacing must be 3 finite numbers"):
        decimals(dataset, "PixelSpacing", count=3)
    with pytest.raises(UnsuitableImage, match=r"SliceThickness must be 1 finite number$") as refused:
        decimals(dataset, "SliceThickness", count=1)
    assert "SECRET" not in str(refused.value)

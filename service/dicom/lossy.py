"""Lossy compression in an image's past, which is never forgotten (PS3.3 C.7.6.1.1.5).

LossyImageCompression 01 --> kept        lossy transfer syntax of the source --> 01 with ratio and method
"""

from __future__ import annotations

from pydicom import Dataset
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
)

from imaging.dicom_attributes import text, values

LOSSY_METHODS = {
    JPEGBaseline8Bit: "ISO_10918_1",
    JPEGExtended12Bit: "ISO_10918_1",
    JPEGLSNearLossless: "ISO_14495_1",
    JPEG2000: "ISO_15444_1",
    HTJ2K: "ISO_15444_15",
}
"""LossyImageCompressionMethod of the transfer syntaxes that may lose something."""

LOSSY_ATTRIBUTES = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")


def source_method(source: Dataset) -> str | None:
    """The method by which the source's pixel data are compressed lossily, or None."""
    meta = getattr(source, "file_meta", None)
    return None if meta is None else LOSSY_METHODS.get(text(meta, "TransferSyntaxUID"))


def mark_lossy(derived: Dataset, source: Dataset) -> None:
    """Writes into `derived` that the source was compressed lossily, unless it says so already."""
    method = source_method(source)
    if method is None or text(source, "LossyImageCompression") == "01":
        return
    native = source.Rows * source.Columns * source.BitsAllocated // 8
    derived.LossyImageCompression = "01"
    derived.LossyImageCompressionRatio = [
        *values(source, "LossyImageCompressionRatio"),
        f"{native / max(1, len(source.PixelData)):.4g}",
    ]
    derived.LossyImageCompressionMethod = [*values(source, "LossyImageCompressionMethod"), method]

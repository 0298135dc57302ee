"""Lossy compression in an image's past, which is never forgotten (PS3.3 C.7.6.1.1.5).

    LossyImageCompression 01 --> kept        a source compressed lossily --> 01 with ratio and method

Whether a source lost something is read from its codestream, since a transfer syntax only says what is allowed: JPEG-LS
under the near-lossless one may be lossless, and JPEG 2000 under the lossless one may not be. What a reversible JPEG
2000 stream cannot tell is whether its encoder dropped bits: under a lossless syntax it is taken not to have, under one
that allows it to have done so unless LossyImageCompression 00 says otherwise.
"""

from __future__ import annotations

from pydicom import Dataset
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
)

from imaging.codestream import Codestream
from imaging.compressed_pixels import codestreams_of
from imaging.dicom_attributes import integer, text, values
from service.dicom.written import put

METHODS = {
    JPEGBaseline8Bit: "ISO_10918_1",
    JPEGExtended12Bit: "ISO_10918_1",
    JPEGLossless: "ISO_10918_1",
    JPEGLosslessSV1: "ISO_10918_1",
    JPEGLSLossless: "ISO_14495_1",
    JPEGLSNearLossless: "ISO_14495_1",
    JPEG2000Lossless: "ISO_15444_1",
    JPEG2000: "ISO_15444_1",
    HTJ2KLossless: "ISO_15444_15",
    HTJ2KLosslessRPCL: "ISO_15444_15",
    HTJ2K: "ISO_15444_15",
}
"""LossyImageCompressionMethod of streams in these transfer syntaxes, if they lost something."""

_MAY_LOSE = frozenset({JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000, HTJ2K})

LOSSY_ATTRIBUTES = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")


def source_method(source: Dataset) -> str | None:
    """The method by which the source's pixel data are compressed lossily, or None.

    Raises:
        ImagingError: the pixel data are damaged; an image that could be decoded has none such.
    """
    meta = getattr(source, "file_meta", None)
    syntax = "" if meta is None else text(meta, "TransferSyntaxUID")
    method = METHODS.get(syntax)
    if method is None:
        return None
    fidelities = {header.fidelity for _, header in _codestreams(source)}
    doubted = syntax in _MAY_LOSE and text(source, "LossyImageCompression") != "00"
    return method if "lossy" in fidelities or ("reversible" in fidelities and doubted) else None


def mark_lossy(derived: Dataset, source: Dataset) -> None:
    """Writes into `derived` that the source was compressed lossily, unless it says so already.

    The ratio is that of the native pixels to the compressed streams, without the items around them.
    """
    method = source_method(source)
    if method is None:
        return
    ratios, methods = (values(source, keyword) for keyword in LOSSY_ATTRIBUTES[1:])
    if text(source, "LossyImageCompression") == "01" and ratios and methods[-1:] == [method]:
        return
    streams = _codestreams(source)
    native = len(streams) * source.Rows * source.Columns * source.BitsAllocated // 8
    paired = len(ratios) == len(methods)  # both are lists of the same steps (PS3.3 C.7.6.1.1.5)
    ratio = f"{native / sum(len(data) for data, _ in streams):.4g}"
    put(
        derived,
        LossyImageCompression="01",
        LossyImageCompressionRatio=[*(ratios if paired else ()), ratio],
        LossyImageCompressionMethod=[*(methods if paired else ()), method],
    )


def _codestreams(source: Dataset) -> list[tuple[bytes, Codestream]]:
    return codestreams_of(source, frames=integer(source, "NumberOfFrames", missing=1))

"""The bytes of a DICOM file -> a data set in which every element has been read.

    bytes --(size, DICM)--> file meta --(syntax)--> inflate under a cap --> elements --(convert all)--> SourceInstance
            TooLarge        NotAnImage UnsupportedFormat  TooLarge          NotAnImage

pydicom converts an element when it is first looked at, and may raise any type of exception then. Here all are looked
at once, inside one guard, so that no later step can fail on a malformed element. Private elements are left out unread:
nothing here knows them, a derived image carries none, and they are half of what some scanners write.

pydicom's warnings and log lines quote the values they complain about, which can be patient data: they are silenced.
"""

from __future__ import annotations

import io
import logging
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pydicom import DataElement, Dataset
from pydicom.datadict import DicomDictionary
from pydicom.dataelem import RawDataElement, convert_raw_data_element
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from imaging.errors import ImagingError, NotAnImage, TooLarge, UnsupportedFormat
from imaging.limits import Limits, check_bytes

PREAMBLE_LENGTH = 128
MAGIC = b"DICM"

MAX_DEPTH = 32
"""Sequences inside sequences. The deepest objects of the standard stay below 10; Python's recursion ends near 200."""

MAX_ELEMENTS = 100_000
"""Elements of one file, sequences included: a CT image has about 200. Bounds the memory that many tiny ones take."""

MAX_READS = 4 * MAX_ELEMENTS
"""pydicom reads a stream two to four times for an element."""

MAX_ELEMENT_BYTES = 1 << 20
"""Of an element that is converted to Python objects (sequences, numbers, text), for the same reason."""

FRAME_BYTES = 1 << 14
"""Of PerFrameFunctionalGroupsSequence for each frame that is allowed, if that is more; scanners write 2 to 8 KiB."""

# These stay bytes, whatever their size; `max_bytes` of the file bounds them.
_UNCONVERTED = frozenset({"OB", "OW", "OD", "OF", "OL", "OV", "OB or OW"})
UNDEFINED_LENGTH = 0xFFFFFFFF
_LEAST_BYTES = 8
"""Of an element: its tag, and its length, or VR and length."""

_FILE_META_GROUP = 0x0002
_PIXEL_GROUP = 0x7FE0
_PER_FRAME_GROUPS = 0x52009230
_CHARACTER_SET = 0x00080005
_SEQUENCES = frozenset(tag for tag, (vr, *_) in DicomDictionary.items() if vr == "SQ")

logging.getLogger("pydicom").setLevel(logging.CRITICAL)
# warnings.catch_warnings swaps state of the whole process, so it must not interleave with itself.
_silence = threading.Lock()


class SourceInstance(FileDataset):  # type: ignore[misc]  # pydicom ships no types
    """A DICOM instance that was read: every element converted, none of them private.

    Attributes:
        raw_values: tag -> the value as the file holds it, of the elements at the top level. pydicom decodes text and
            encodes it again, which loses bytes that the declared character set does not have, and spaces at the end.
    """

    raw_values: dict[BaseTag, bytes]


class _MeteredStream(io.BytesIO):
    """Gives up after `MAX_READS` reads, before millions of elements have become objects."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads > MAX_READS:
            raise NotAnImage(f"the DICOM file has more than {MAX_ELEMENTS} elements, far more than any CT image")
        return super().read(size)


def _stream(data: bytes) -> io.BytesIO:
    """Metered if so many elements fit in at all: it takes a quarter of the time in which pydicom reads a slice's."""
    return _MeteredStream(data) if len(data) > MAX_ELEMENTS * _LEAST_BYTES else io.BytesIO(data)


@contextmanager
def pydicom_guard(what: str) -> Iterator[None]:
    """Runs pydicom silently; whatever it raises becomes NotAnImage, since no list of its exception types is complete.

    The message tells the type of the exception only: its text may quote patient data.
    """
    with _silence, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except Exception as error:  # noqa: BLE001 - see above
            ours = _ours(error)
            raise ours if ours is not None else NotAnImage(f"{what} ({type(error).__name__})") from None


def _ours(error: BaseException | None) -> ImagingError | None:
    """The error of ours that pydicom may have wrapped in one of its own."""
    while error is not None and not isinstance(error, ImagingError):
        error = error.__cause__ or error.__context__
    return error


def looks_like_dicom(data: bytes) -> bool:
    """Whether the prefix stands where PS3.10 puts it, whatever the preamble holds (nothing, TIFF, even a program)."""
    return data[PREAMBLE_LENGTH : PREAMBLE_LENGTH + len(MAGIC)] == MAGIC


def read_dicom(data: bytes, *, limits: Limits) -> SourceInstance:
    """Parses a whole DICOM file.

    Args:
        data: preamble, `DICM`, file meta and data set, as PS3.10 section 7 defines them.
        limits: `max_bytes` bounds the file, and a deflated data set once more when inflated.

    Returns:
        `file_meta.TransferSyntaxUID` is present; `PixelData` are bytes in the byte order of the file. The preamble is
        not kept: it may hold a program.

    Raises:
        TooLarge: more than `max_bytes`, before or after inflating.
        NotAnImage: no preamble, no TransferSyntaxUID, malformed, nested too deeply, too many elements.
        UnsupportedFormat: a transfer syntax that the standard does not know, so that the encoding is unknown.
    """
    check_bytes(len(data), max_bytes=limits.max_bytes)
    if not looks_like_dicom(data):
        raise NotAnImage(
            "the file has no DICM prefix after a preamble of 128 bytes, so it is no DICOM file (PS3.10 section 7.1);"
            " a bare data set must be written as a file first"
        )
    with pydicom_guard("the DICOM file is malformed or truncated"):
        stream = _stream(data)
        file_meta = _read_file_meta(stream)
        syntax = _transfer_syntax(file_meta)
        if syntax == DeflatedExplicitVRLittleEndian:
            stream = _stream(_inflate(data[stream.tell() :], max_bytes=limits.max_bytes))
        implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
        elements = read_dataset(stream, implicit, little)
        if not elements:
            # also where pydicom met the end of the file inside of a sequence, since it then gives nothing at all
            raise NotAnImage("the DICOM file has no complete data set: it is cut off or damaged; send the whole file")
        # an empty buffer, because the real one would keep the whole file in memory
        dataset = SourceInstance(io.BytesIO(), _standard(elements), None, file_meta, implicit, little)
        dataset.set_original_encoding(implicit, little, elements._character_set)  # noqa: SLF001
        dataset.raw_values = _raw_values(elements)
        _convert_all(file_meta, limits)
        _convert_all(dataset, limits, seen=len(elements) - len(dataset))
    return dataset


def encoded_data_set(data: bytes) -> tuple[UID, bytes]:
    """Transfer syntax of a DICOM file, and its data set as it is encoded; raises as `read_dicom`."""
    if not looks_like_dicom(data):
        raise NotAnImage("the file has no DICM prefix after a preamble of 128 bytes (PS3.10 section 7.1)")
    with pydicom_guard("the file meta information is malformed or truncated"):
        stream = _stream(data)
        return _transfer_syntax(_read_file_meta(stream)), data[stream.tell() :]


def _read_file_meta(stream: io.BytesIO) -> FileMetaDataset:
    stream.seek(PREAMBLE_LENGTH + len(MAGIC))
    return FileMetaDataset(read_dataset(stream, False, True, stop_when=_after_file_meta))


def _raw_values(elements: Dataset) -> dict[BaseTag, bytes]:
    return {
        tag: element.value
        for tag, element in elements.items()
        if isinstance(element, RawDataElement) and isinstance(element.value, bytes) and not tag.is_private
    }


def _standard(elements: Dataset) -> dict[BaseTag, RawDataElement | DataElement]:
    """Without private elements, and the plain ones converted, which takes a data set one and a half times as long.

    What is a sequence, ambiguous, long or wrong stays as it is: `_convert_all` reads it, or says why it cannot.
    """
    _check_count(len(elements))
    charset = elements._character_set  # noqa: SLF001 - pydicom has no public name for it
    found = {tag: element for tag, element in elements.items() if not tag.is_private}
    for tag, raw in found.items():
        if _is_plain(raw):
            with suppress(Exception):
                element = convert_raw_data_element(raw, encoding=charset)
                if element.VR != "SQ" and " or " not in element.VR:
                    found[tag] = element
    return found


def _is_plain(element: RawDataElement | DataElement) -> bool:
    return (
        isinstance(element, RawDataElement)
        and element.value is not None
        and len(element.value) == element.length <= MAX_ELEMENT_BYTES
        and element.VR != "SQ"
        and element.tag not in _SEQUENCES
        and element.tag != _CHARACTER_SET
    )


def _after_file_meta(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return bool(tag.group != _FILE_META_GROUP)


def _transfer_syntax(file_meta: FileMetaDataset) -> UID:
    syntax = file_meta.get("TransferSyntaxUID")
    if not isinstance(syntax, str) or not syntax:
        raise NotAnImage(
            "the DICOM file has no single TransferSyntaxUID (0002,0010), so its encoding is unknown;"
            " write it with complete file meta information (PS3.10 section 7.1)"
        )
    uid = UID(syntax)
    if uid.is_private or uid.type != "Transfer Syntax":
        raise UnsupportedFormat(f"transfer syntax {syntax[:64]!r} is none of the DICOM standard")
    return uid


def _inflate(deflated: bytes, *, max_bytes: int) -> bytes:
    """Raw DEFLATE (PS3.5 A.5), at most `max_bytes` of output."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(deflated, max_bytes + 1)
    if len(inflated) > max_bytes:
        raise TooLarge(
            f"the deflated data set has more than the {max_bytes} bytes that are allowed; send a smaller image",
            limit="max_bytes",
        )
    if not inflater.eof:
        raise NotAnImage("the deflated data set of the DICOM file ends early; send the whole file")
    return inflated


def _convert_all(root: Dataset, limits: Limits, *, seen: int = 0) -> None:
    """Converts every standard element of `root` in place, level by level instead of recursively.

    `seen` are the elements that were left out before.
    """
    level = [root]
    for _ in range(MAX_DEPTH):
        below: list[Dataset] = []
        for dataset in level:
            elements = list(dataset.items())
            seen += len(elements) + 1
            _check_count(seen)
            for tag, element in elements:
                if tag.is_private:
                    del dataset[tag]
                    continue
                if isinstance(element, DataElement) and element.VR != "SQ" and tag not in _SEQUENCES:
                    continue
                try:
                    below += _converted_items(dataset, tag, limits)
                except TooLarge:
                    raise
                except Exception as error:  # noqa: BLE001 - see pydicom_guard
                    raise NotAnImage(f"element {tag} of the DICOM file cannot be read: {_reason(error)}") from None
        if not below:
            return
        level = below
    raise NotAnImage(f"the DICOM file nests sequences more than {MAX_DEPTH} deep")


def _check_count(elements: int) -> None:
    if elements > MAX_ELEMENTS:
        raise NotAnImage(f"the DICOM file has more than {MAX_ELEMENTS} elements, far more than any CT image")


def _converted_items(dataset: Dataset, tag: BaseTag, limits: Limits) -> list[Dataset]:
    """Converts one element; the items when it is a sequence."""
    raw = dataset.get_item(tag)
    if isinstance(raw, RawDataElement) and raw.value is not None and tag.group != _PIXEL_GROUP:
        size = len(raw.value)
        if size < raw.length != UNDEFINED_LENGTH:
            raise NotAnImage(f"it has {size} of {raw.length} bytes, so the file is truncated; send the whole file")
        if tag == _PER_FRAME_GROUPS:
            _check_frame_bytes(size, limits)
        elif size > MAX_ELEMENT_BYTES and raw.VR not in _UNCONVERTED:
            raise NotAnImage(f"it has {size} bytes, and {MAX_ELEMENT_BYTES} are allowed outside of pixel data")
    element = dataset[tag]
    if element.VR != "SQ" and tag in _SEQUENCES:
        raise NotAnImage("it must be a sequence of items, and is none")
    return list(element.value) if element.VR == "SQ" else []


def _check_frame_bytes(size: int, limits: Limits) -> None:
    allowed = max(MAX_ELEMENT_BYTES, FRAME_BYTES * limits.max_frames)
    if size > allowed:
        raise TooLarge(
            f"the functional groups of the frames have {size} bytes, and {allowed} are allowed for {limits.max_frames}"
            " frames; send instances of fewer frames",
            limit="max_frames",
        )


def _reason(error: Exception) -> str:
    wrong = "its value representation, length or value is wrong"
    return str(error) if isinstance(error, ImagingError) else f"{wrong} ({type(error).__name__})"

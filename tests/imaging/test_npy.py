"""NPY: which arrays are read, and that a header is not believed."""

from __future__ import annotations

import io

import numpy as np
import pytest

from imaging.errors import NotAnImage, TooLarge, UnsuitableImage, UnsupportedFormat
from imaging.limits import Limits
from imaging.npy import MAGIC, read_npy, write_npy

LIMITS = Limits(max_bytes=1 << 20, max_pixels=1 << 16, max_frames=8)


def saved(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def npy_of(header, data=b"", *, version=1):
    """An NPY file with the given header text."""
    text = header.encode() + b"\n"
    return MAGIC + bytes([version, 0]) + len(text).to_bytes(2 if version == 1 else 4, "little") + text + data


DTYPES = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("memory_order", ["C", "F"])
def test_every_number_type_and_order(dtype, byte_order, memory_order):
    stored = np.array([[1, 2, 3], [4, 5, 6]], byte_order + dtype, order=memory_order)
    read = read_npy(saved(stored), limits=LIMITS)
    assert read.dtype == np.dtype(dtype)
    assert read.dtype.isnative
    assert read.flags.c_contiguous
    assert read.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert np.load(io.BytesIO(write_npy(read))).tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version(version):
    file = io.BytesIO()
    np.lib.format.write_array(file, np.array([[1.5, 2.5]]), version=version)
    assert read_npy(file.getvalue(), limits=LIMITS).tolist() == [[1.5, 2.5]]


@pytest.mark.parametrize(
    ("array", "shown"),
    [
        (np.zeros((2, 2), complex), "<c16"),
        (np.zeros((2, 2), bool), r"\|b1"),
        (np.zeros((2, 2), "U3"), "<U3"),
        (np.zeros((2, 2), "datetime64[s]"), "M8"),
        (np.zeros((2, 2), [("a", "i4")]), r"\[\('a', '<i4'\)\]"),
        (np.zeros((2, 2), np.longdouble), "<f16"),
    ],
)
def test_other_types_are_refused_by_name(array, shown):
    with pytest.raises(UnsuitableImage, match=shown):
        read_npy(saved(array), limits=LIMITS)


def test_objects_are_refused_without_unpickling():
    class Trap:
        def __reduce__(self):
            return pytest.fail, ("it was unpickled",)

    with pytest.raises(UnsuitableImage, match=r"\|O"):
        read_npy(saved(np.array([[Trap()]], object), allow_pickle=True), limits=LIMITS)


@pytest.mark.parametrize("shape", [(), (4,), (1, 1, 5, 5), (1, 1, 1, 2, 2), (0, 4), (4, 0), (0, 5, 5), (2, 5, 0)])
def test_other_shapes_are_refused_and_never_reshaped(shape):
    with pytest.raises(UnsuitableImage, match=r"one image \(H, W\) or a stack \(N, H, W\) is needed"):
        read_npy(saved(np.zeros(shape, np.float32)), limits=LIMITS)


@pytest.mark.parametrize("shape", [(5, 5, 1), (1, 5, 2), (5, 5, 3), (5, 5, 4)])
def test_a_last_axis_that_could_be_channels_is_refused(shape):
    with pytest.raises(UnsuitableImage, match="could be channels of one image as well as columns"):
        read_npy(saved(np.zeros(shape, np.float32)), limits=LIMITS)


@pytest.mark.parametrize("memory_order", ["C", "F"])
@pytest.mark.parametrize("shape", [(1, 4, 5), (3, 1, 7), (8, 2, 6)])
def test_stacks_keep_their_order(shape, memory_order):
    stored = np.asarray(np.arange(np.prod(shape), dtype=">i2").reshape(shape), order=memory_order)
    read = read_npy(saved(stored), limits=LIMITS)
    assert (read.dtype, read.shape, read.tolist()) == (np.dtype(np.int16), shape, stored.tolist())
    assert np.load(io.BytesIO(write_npy(read))).tolist() == stored.tolist()


def test_a_stack_of_more_frames_than_allowed_is_refused_by_its_header():
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (9, 5, 5)}"
    with pytest.raises(TooLarge, match="the file has 9 frames and at most 8 are allowed") as refused:
        read_npy(npy_of(header), limits=LIMITS)
    assert refused.value.limit == "max_frames"


@pytest.mark.parametrize(
    ("header", "data"),
    [
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2)}", bytes(15)),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2)}", bytes(17)),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 2)}", bytes(16)),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (-2, -2)}", bytes(16)),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (2.0, 2)}", bytes(16)),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (True, 2)}", bytes(8)),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': [2, 2]}", bytes(16)),
        ("{'descr': '<f4', 'fortran_order': False}", bytes(16)),
        ("{'descr': '<f4', 'fortran_order': 0, 'shape': (2, 2)}", bytes(16)),
        ("{'descr': '<f4', 'shape': (2, 2)}", bytes(16)),
        ("['<f4', False, (2, 2)]", bytes(16)),
        ("__import__('os').getcwd()", b""),
        ("{'descr': ", b""),
        ("(" * 5000, b""),
        ("\0", b""),
        ("{1: {}}[1]", b""),
        ("{[]: 1}", b""),
    ],
)
@pytest.mark.parametrize("version", [1, 2, 3])
def test_headers_that_lie_or_are_none_are_refused(header, data, version):
    with pytest.raises(NotAnImage):
        read_npy(npy_of(header, data, version=version), limits=LIMITS)


def test_a_huge_promise_is_refused_before_memory_is_taken():
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (4000000000, 4000000000)}"
    with pytest.raises(TooLarge, match="4000000000 rows"):
        read_npy(npy_of(header), limits=LIMITS)


def test_a_huge_header_is_refused():
    with pytest.raises(NotAnImage, match="header of the NPY file has 20001 bytes"):
        read_npy(npy_of(" " * 20000), limits=LIMITS)


def test_every_truncation_is_refused():
    data = saved(np.zeros((2, 2), np.uint8))
    for length in range(len(MAGIC), len(data)):
        with pytest.raises((NotAnImage, UnsupportedFormat)):
            read_npy(data[:length], limits=LIMITS)


def test_an_unknown_version_is_refused():
    with pytest.raises(UnsupportedFormat, match="version 9"):
        read_npy(npy_of("{}", version=9), limits=LIMITS)


@pytest.mark.parametrize("values", [np.zeros(3), np.zeros((2, 2), bool), np.zeros((2, 2), complex)])
def test_only_images_of_real_numbers_are_written(values):
    with pytest.raises(ValueError, match="real numbers"):
        write_npy(values)


@pytest.mark.parametrize("shape", ["({}, {})", "(2, {}, {})"])
def test_sides_as_long_as_numpys_are_too_large_and_longer_ones_are_no_sides(shape):
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': %s}"
    with pytest.raises(TooLarge, match=f"has {2**63 - 1} rows"):
        read_npy(npy_of(header % shape.format(2**63 - 1, 2**63 - 1)), limits=LIMITS)
    for longer in (2**63, hex(2**3000)):
        with pytest.raises(NotAnImage, match="no shape of whole numbers below") as refused:
            read_npy(npy_of(header % shape.format(5, longer)), limits=LIMITS)
        assert len(str(refused.value)) < 100


@pytest.mark.parametrize(("descr", "shape"), [("'<f8'", f"(5, {'9' * 4200}, {'9' * 4200})"), (hex(2**20000), "(5, 5)")])
def test_a_header_with_more_digits_than_python_writes_is_not_parsed(descr, shape):
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}"
    with pytest.raises(NotAnImage, match="that of an image has about 100"):
        read_npy(npy_of(header), limits=LIMITS)

import numpy as np
import pytest

from model_store.errors import RefusedVersion
from model_store.golden import check_float32, check_reduced, deviation, read_golden
from model_store.manifest import Golden

BOUNDS = Golden(max_abs=0.5, reduced_rms=1.0, reduced_p999=5.0, reduced_mean=0.1)


def answers(*changes, shape=(1, 3, 5, 1)):
    """A stored answer of 100 HU, and one that differs at the given (row, column, difference)."""
    stored = np.full(shape, 100, np.float32)
    answer = stored.copy()
    for row, column, difference in changes:
        answer[0, row, column, 0] += difference
    return answer, stored


def test_deviation_by_hand():
    found = deviation(*answers((2, 1, 3.0), (0, 4, -4.0)))
    assert found.max_abs == 4.0
    assert found.rms == pytest.approx((25 / 15) ** 0.5, rel=1e-12)
    assert found.mean == pytest.approx(-1 / 15, rel=1e-12)
    # 15 sorted values: the 99.9th percentile lies at position 13.986, between 3 and 4.
    assert found.p999 == pytest.approx(3.986, rel=1e-12)
    assert (found.worst, found.answer, found.stored) == ((0, 4), 96.0, 100.0)


def test_deviation_is_computed_in_float64():
    stored = np.zeros((1, 1, 3, 1), np.float32)
    found = deviation(np.full_like(stored, 1e30), stored)
    assert found.rms == pytest.approx(1e30, rel=1e-6)  # its square is beyond float32


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"\(1, 3, 5, 1\).*\(3, 5\)"):
        deviation(np.zeros((1, 3, 5, 1)), np.zeros((3, 5)))


def test_float32_is_bounded_at_every_pixel():
    check_float32(deviation(*answers((1, 1, 0.5))), BOUNDS, "ct-l2@1")
    with pytest.raises(RefusedVersion) as caught:
        check_float32(deviation(*answers((1, 3, 0.75))), BOUNDS, "ct-l2@1")
    assert str(caught.value) == (
        "ct-l2@1 in float32 does not reproduce its golden sample: largest deviation 0.75, allowed 0.5;"
        " worst pixel row 1, column 3: 100.75 instead of 100"
    )


def test_reduced_precision_is_bounded_in_rms_tail_and_mean():
    large = (1, 64, 64, 1)
    # One pixel of 4096 lies beyond the 99.9th percentile, so only the root mean square sees it.
    check_reduced(deviation(*answers((1, 3, 60.0), shape=large)), BOUNDS, "x")
    with pytest.raises(
        RefusedVersion, match=r"root mean square deviation 1\.094, allowed 1; worst pixel row 1, column 3"
    ):
        check_reduced(deviation(*answers((1, 3, 70.0), shape=large)), BOUNDS, "x")
    tail = [(5, column, 6.0 if column % 2 else -6.0) for column in range(6)]
    with pytest.raises(RefusedVersion, match=r"99\.9th percentile of the deviation 6, allowed 5"):
        check_reduced(deviation(*answers(*tail, shape=large)), BOUNDS, "x")
    answer, stored = answers(shape=large)
    with pytest.raises(RefusedVersion, match=r"mean deviation 0\.125, allowed 0\.1"):
        check_reduced(deviation(answer - np.float32(0.125), stored), BOUNDS, "x")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_answer_that_is_not_finite_fails_every_bound_and_is_the_worst_pixel(value):
    answer, stored = answers((0, 0, 1e9))
    answer[0, 2, 3, 0] = value
    with np.errstate(all="raise"):
        found = deviation(answer, stored)
    assert found.worst == (2, 3)
    assert all(np.isnan([found.max_abs, found.rms, found.p999, found.mean]))
    for check in (check_float32, check_reduced):
        with pytest.raises(RefusedVersion, match=f"row 2, column 3: {value:g} instead of 100"):
            check(found, Golden(max_abs=1e12, reduced_rms=1e12, reduced_p999=1e12, reduced_mean=1e12), "x")


def test_read_golden_gives_what_was_stored(version):
    sample = read_golden(version.path, version.manifest)
    np.testing.assert_array_equal(sample.image.ravel(), np.arange(15))
    np.testing.assert_array_equal(sample.restored.ravel(), np.arange(1, 16))


GOOD = np.zeros((1, 3, 5, 1), np.float32)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"image": GOOD}, "'image' and 'restored'"),
        ({"image": GOOD, "restored": GOOD.astype(np.float64)}, "'restored' is .1, 3, 5, 1. float64"),
        ({"image": GOOD[0], "restored": GOOD}, "'image' is .3, 5, 1. float32"),
        ({"image": np.zeros((2, 3, 5, 1), np.float32), "restored": GOOD}, "'image' is .2, 3, 5, 1."),
        ({"image": GOOD[:, :0], "restored": GOOD}, "'image' is empty"),
        ({"image": GOOD, "restored": GOOD + np.float32(np.nan)}, "'restored' is empty or holds values that are not"),
        ({"image": GOOD, "restored": GOOD[:, :2]}, "'image' is .1, 3, 5, 1., 'restored' .1, 2, 5, 1."),
        ({"image": np.array([{}], dtype=object), "restored": GOOD}, "'image' and 'restored'"),
    ],
)
def test_a_golden_sample_that_is_none_is_refused(version, arrays, message):
    np.savez(version.path / "golden.npz", **arrays)
    with pytest.raises(RefusedVersion, match=f"ct-l2@1: golden.npz.*{message}"):
        read_golden(version.path, version.manifest)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 broken"])
def test_a_file_that_is_no_npz_is_refused(version, content):
    (version.path / "golden.npz").write_bytes(content)
    with pytest.raises(RefusedVersion, match="does not hold"):
        read_golden(version.path, version.manifest)


def test_a_single_array_is_no_sample(version):
    with (version.path / "golden.npz").open("wb") as file:
        np.save(file, GOOD)
    with pytest.raises(RefusedVersion, match="does not hold"):
        read_golden(version.path, version.manifest)


def test_a_huge_file_is_not_read(version):
    with (version.path / "golden.npz").open("r+b") as file:
        file.truncate(64 * 1024 * 1024 + 1)
    with pytest.raises(RefusedVersion, match="larger than 67108864 bytes"):
        read_golden(version.path, version.manifest)

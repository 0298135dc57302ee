"""What the page computes itself, against numpy: each module of the page, loaded in the browser alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.web

WHATEVER = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def run(page):
    """run("viewer/planes.js", "(planes, argument) => ...", argument) -> what it gives."""

    def run_in_page(module, function, argument=None):
        return page.evaluate(f"async (argument) => ({function})(await import('/web/{module}'), argument)", argument)

    return run_in_page


def quarters(number):
    return number / 4


def plane(image):
    return {"data": image.ravel().tolist(), "rows": image.shape[0], "columns": image.shape[1]}


PLANE = "({data, ...size}) => ({data: Float32Array.from(data), ...size})"


@WHATEVER
@given(st.integers(1, 9), st.integers(1, 9), st.floats(0, 1, width=32), st.integers(0, 2**32 - 1))
def test_blending_is_that_of_the_service(run, rows, columns, strength, seed):
    image, restored, truth = np.random.default_rng(seed).normal(0, 400, (3, rows, columns)).astype(np.float32)
    blended, left = run(
        "viewer/planes.js",
        f"""(planes, [strength, ...given]) => {{
          const [image, restored, truth] = given.map({PLANE});
          const terms = planes.blended(image, restored, strength);
          return [terms, planes.difference(terms, [[truth, 1]])].map((each) => [...planes.combine(each)]);
        }}""",
        [float(strength), plane(image), plane(restored), plane(truth)],
    )
    expected = image + np.float32(strength) * (restored - image)
    np.testing.assert_allclose(np.reshape(blended, image.shape), expected, rtol=1e-5, atol=2e-3)
    np.testing.assert_allclose(np.reshape(left, image.shape), expected - truth, rtol=1e-5, atol=2e-3)


def test_strength_0_and_1_are_exact(run):
    image, restored = np.random.default_rng(1).normal(0, 1e4, (2, 5, 7)).astype(np.float32)
    for strength, expected in ((0, image), (1, restored)):
        found = run(
            "viewer/planes.js",
            f"""(planes, [strength, ...given]) => {{
              const [image, restored] = given.map({PLANE});
              return [...planes.combine(planes.blended(image, restored, strength))];
            }}""",
            [strength, plane(image), plane(restored)],
        )
        np.testing.assert_array_equal(np.reshape(found, image.shape).astype(np.float32), expected)


def test_an_image_without_itself_is_nothing(run):
    image = plane(np.ones((2, 2), np.float32))
    code = f"""(planes, given) => {{
      const terms = [[({PLANE})(given), 1]];
      return [...planes.combine(planes.difference(terms, terms))];
    }}"""
    assert run("viewer/planes.js", code, image) == [0, 0, 0, 0]


@WHATEVER
@given(
    st.integers(1, 12),
    st.integers(1, 12),
    st.lists(st.integers(-16, 60).map(quarters), min_size=4, max_size=4),
    st.integers(0, 99),
)
def test_statistics_of_an_ellipse(run, rows, columns, corners, seed):
    image = np.random.default_rng(seed).normal(0, 400, (rows, columns)).astype(np.float32)
    x0, y0, x1, y1 = corners
    found = run(
        "viewer/planes.js",
        "(planes, [{data, ...size}, [x0, y0, x1, y1]]) =>"
        " planes.statistics(data, size, {from: {x: x0, y: y0}, to: {x: x1, y: y1}})",
        [plane(image), corners],
    )
    radius_x, radius_y = abs(x1 - x0) / 2 or 0.5, abs(y1 - y0) / 2 or 0.5
    y, x = np.mgrid[:rows, :columns]
    inside = image[((x - (x0 + x1) / 2) / radius_x) ** 2 + ((y - (y0 + y1) / 2) / radius_y) ** 2 <= 1].astype(
        np.float64
    )
    if inside.size == 0:
        assert found is None
        return
    assert found["n"] == inside.size
    assert found["mean"] == pytest.approx(inside.mean(), rel=1e-9, abs=1e-9)
    assert found["sd"] == pytest.approx(inside.std(ddof=1) if inside.size > 1 else 0, rel=1e-9, abs=1e-9)
    assert (found["min"], found["max"]) == (inside.min(), inside.max())


@WHATEVER
@given(
    st.integers(2, 12),
    st.integers(2, 12),
    st.lists(st.integers(0, 8).map(lambda number: number / 8), min_size=4, max_size=4),
    st.integers(0, 99),
)
def test_a_profile_is_interpolated(run, rows, columns, ends, seed):
    from scipy.ndimage import map_coordinates  # noqa: PLC0415 - only here

    image = np.random.default_rng(seed).normal(0, 400, (rows, columns)).astype(np.float64)
    x0, y0, x1, y1 = np.array(ends) * np.array([columns - 1, rows - 1] * 2)
    found = run(
        "viewer/planes.js",
        "(planes, [{data, ...size}, [x0, y0, x1, y1]]) =>"
        " planes.profile(data, size, {from: {x: x0, y: y0}, to: {x: x1, y: y1}}, [2, 0.5])",
        [plane(image), [float(x0), float(y0), float(x1), float(y1)]],
    )
    steps = max(1, int(np.hypot(x1 - x0, y1 - y0) + 0.5))
    share = np.arange(steps + 1) / steps
    x, y = x0 + (x1 - x0) * share, y0 + (y1 - y0) * share
    np.testing.assert_allclose(found["value"], map_coordinates(image, [y, x], order=1, mode="nearest"), atol=1e-6)
    np.testing.assert_allclose(found["at"], share * np.hypot((x1 - x0) * 0.5, (y1 - y0) * 2), atol=1e-9)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1)])
def test_images_of_one_row_or_column_have_profiles(run, shape):
    image = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    to = {"x": shape[1] - 1, "y": shape[0] - 1}
    found = run(
        "viewer/planes.js",
        "(planes, [{data, ...size}, to]) => planes.profile(data, size, {from: {x: 0, y: 0}, to})",
        [plane(image), to],
    )
    assert sorted(set(found["value"])) == image.ravel().tolist()


@pytest.mark.parametrize(
    ("values", "halved"),
    [([-1024.0, 3071.0], True), ([0.5, 1.0], False), ([40000.0], False), ([-32768.0, 32767.0], True)],
)
def test_whole_numbers_of_16_bits_take_half_the_memory(run, values, halved):
    code = """(planes, values) => {
      const kept = planes.compact({data: Float32Array.from(values), rows: 1, columns: values.length});
      return [planes.bytesOf(kept) / values.length, [...kept.data]];
    }"""
    bytes_each, kept = run("viewer/planes.js", code, values)
    assert (bytes_each, kept) == (2 if halved else 4, values)


@pytest.mark.parametrize("shape", [(3, 4), (1, 1), (2, 3, 5)])
def test_npy_files_of_numpy(run, shape, tmp_path):
    array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    np.save(tmp_path / "a.npy", array)
    found = run(
        "files/npy.js",
        "(npy, bytes) => npy.readPlanes(Uint8Array.from(bytes).buffer)"
        ".map(({data, rows, columns}) => [rows, columns, [...data]])",
        list((tmp_path / "a.npy").read_bytes()),
    )
    planes = array if array.ndim == 3 else array[None]
    assert [each[:2] for each in found] == [list(plane.shape) for plane in planes]
    np.testing.assert_array_equal(np.array([each[2] for each in found], np.float32).ravel(), array.ravel())


@pytest.mark.parametrize("dtype", ["<f8", ">f4", "<i2"])
def test_npy_files_of_other_types_are_refused(run, dtype, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 2), dtype))
    code = """(npy, bytes) => {
      try { npy.readPlanes(Uint8Array.from(bytes).buffer); } catch (error) { return error.message; }
    }"""
    assert "no float32" in run("files/npy.js", code, list((tmp_path / "a.npy").read_bytes()))


def test_npy_files_for_numpy(run):
    import io  # noqa: PLC0415

    found = run(
        "files/npy.js",
        "async (npy) => { const file = npy.writeNpy({data: [1.5, -2, 3, 4, 5, 6], rows: 2, columns: 3});"
        " return [...new Uint8Array(await file.arrayBuffer())]; }",
    )
    np.testing.assert_array_equal(np.load(io.BytesIO(bytes(found))), np.array([[1.5, -2, 3], [4, 5, 6]], np.float32))


def test_zooming_keeps_the_point_below_the_pointer(run):
    before, after, fit = run(
        "viewer/viewport.js",
        """(viewport) => {
          const image = {rows: 100, columns: 200, spacing: [2, 1]};
          const [pane, at] = [{width: 300, height: 400}, {x: 33, y: 210}];
          const map = viewport.mapping(viewport.FIT, image, pane);
          const next = viewport.mapping(viewport.zoomed(map, 3, at), image, pane);
          return [map.toImage(at), next.toImage(at), [map.across, map.down, map.toScreen({x: -0.5, y: -0.5})]];
        }""",
    )
    assert before == pytest.approx(after)
    # 200 columns of 1 mm, 100 rows of 2 mm: a square of 200 mm in a pane of 300 x 400
    assert fit[:2] == [1.5, 3]
    assert fit[2] == pytest.approx({"x": 0, "y": 50})

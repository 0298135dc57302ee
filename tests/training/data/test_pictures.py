from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
from PIL import Image
from skimage import data
from skimage.color import rgb2gray

from imaging.formats import encode_npy, encode_tiff
from training.data import pictures
from training.data.datasets import check_roles
from training.data.pictures import PACKAGE_PICTURES, package_pictures, picture_folder, picture_series
from training.errors import NoTrainingData


@pytest.fixture(scope="module")
def roles():
    return {role: package_pictures(role) for role in ("fit", "tune", "report")}


def test_every_picture_has_one_role_and_there_are_enough_to_report_on(roles):
    check_roles(roles)
    assert [each.name for each in roles["tune"]] == ["chelsea", "ihc", "moon", "text"]
    assert len(roles["report"]) >= 6  # as many sources as intervals need
    generated = [each.name for each in roles["fit"] if each.name.startswith("dead-leaves")]
    assert len(generated) == len(set(generated)) == 12
    assert sum(len(series) for series in roles.values()) == len(PACKAGE_PICTURES) + 12


def test_pictures_are_grayscale_from_0_to_1_and_of_a_usable_size(roles):
    for series in chain(*roles.values()):
        assert series.unit == "relative"
        assert series.images.dtype == np.float32
        assert series.images.ndim == 3
        assert series.images.min() >= 0
        assert series.images.max() <= 1
        assert 96 <= min(series.images.shape[1:]) <= max(series.images.shape[1:]) <= 512
        assert series.images.std() > 0.02
        assert np.isnan(series.noise_level)
        assert (series.name, series.spacing) == (series.patient, (1.0, 1.0))


def test_the_pictures_are_those_that_scikit_image_gives(roles):
    ours = {series.name: series.images[0] for series in chain(*roles.values())}
    np.testing.assert_allclose(ours["camera"], data.camera() / 255, atol=1e-6)
    np.testing.assert_allclose(ours["astronaut"], rgb2gray(data.astronaut()), atol=1e-3)  # its weights: 3 more digits
    coffee = rgb2gray(data.coffee())
    np.testing.assert_allclose(ours["coffee"], coffee[:, 44:-44], atol=1e-3)
    retina = rgb2gray(data.retina())[:1410, :1410]
    halved = (retina[::2, ::2] + retina[1::2, ::2] + retina[::2, 1::2] + retina[1::2, 1::2]) / 4
    np.testing.assert_allclose(ours["retina"], halved[96:608, 96:608], atol=1e-3)


def test_they_are_always_the_same(roles):
    for one, two in zip(roles["fit"], package_pictures("fit"), strict=True):
        np.testing.assert_array_equal(one.images, two.images)


def test_what_the_installed_package_lacks_is_named(monkeypatch):
    monkeypatch.setattr(pictures, "PACKAGE_PICTURES", (pictures.PackagePicture("unicorn.png", "tune"),))
    with pytest.raises(NoTrainingData, match=r"no unicorn\.png; give pictures with --data DIR"):
        package_pictures("tune")
    monkeypatch.setattr(pictures, "find_spec", lambda _: None)
    with pytest.raises(NoTrainingData, match="scikit-image, which is not installed"):
        package_pictures("tune")


def test_a_folder_of_ones_own(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.random((3, 20, 30), np.float32)
    (tmp_path / "b").mkdir()
    Image.fromarray((images[0] * 255).astype(np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "b" / "stack.npy").write_bytes(encode_npy(list(images)))
    (tmp_path / "b" / "pages.TIF").write_bytes(encode_tiff(list(images[:2])))
    (tmp_path / "notes.txt").write_text("no picture")
    found = {series.name: series for series in picture_folder(tmp_path)}
    assert list(found) == ["a", "b/pages", "b/stack"]
    np.testing.assert_allclose(found["a"].images[0], (images[0] * 255).astype(np.uint8) / 255, atol=1e-6)
    np.testing.assert_array_equal(found["b/stack"].images, images)
    np.testing.assert_array_equal(found["b/pages"].images, images[:2])
    (alone,) = picture_folder(tmp_path / "a.png")
    np.testing.assert_array_equal(alone.images, found["a"].images)


def test_the_same_picture_in_two_roles_is_found_out_and_another_of_its_name_is_not(tmp_path):
    for role, pixels in (("train", 1), ("tune", 2), ("validation", 1)):
        (tmp_path / role).mkdir()
        image = np.random.default_rng(pixels).random((16, 16), np.float32)
        (tmp_path / role / f"{'one' if role == 'train' else 'other'}.npy").write_bytes(encode_npy([image]))
    fit, tune, report = (picture_folder(tmp_path / role) for role in ("train", "tune", "validation"))
    check_roles({"fit": fit, "tune": tune})
    with pytest.raises(NoTrainingData, match="'other' is in both roles, fit and report"):
        check_roles({"fit": fit, "report": report})


def test_what_is_no_grayscale_picture_is_named_with_the_reason(tmp_path):
    with pytest.raises(NoTrainingData, match="holds no pictures: PNG, TIFF and NPY"):
        picture_folder(tmp_path)
    (tmp_path / "bad.png").write_text("text")
    with pytest.raises(NoTrainingData, match=r"bad\.png cannot be used: .*looks like text"):
        picture_folder(tmp_path)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "bad.png")
    with pytest.raises(NoTrainingData, match=r"bad\.png cannot be used: "):
        picture_folder(tmp_path)


def test_a_series_may_have_a_source_of_another_name():
    series = picture_series("crop", np.zeros((1, 4, 4), np.float32), "whole")
    assert (series.name, series.patient) == ("crop", "whole")

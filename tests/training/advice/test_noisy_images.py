from __future__ import annotations

import zipfile

import numpy as np
import pytest

from imaging.errors import UnsuitableImage
from imaging.formats import HU_IN_PNG, encode_npy, encode_png, encode_tiff
from imaging.image import Rescale
from training.advice.noisy_images import read_noisy_images
from training.errors import NoTrainingData, UnpairedImages


def save(folder, name, image):
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    writer = {".npy": encode_npy, ".tif": encode_tiff}.get(file.suffix)
    file.write_bytes(writer([image]) if writer else encode_png(image, rescale=Rescale(1 / 65535, 0)))


def picture(value, shape=(8, 10)):
    return np.full(shape, value, np.float32)


def test_pairs_are_matched_by_name_whatever_the_format(tmp_path):
    save(tmp_path / "noisy", "b.npy", picture(0.25))
    save(tmp_path / "noisy", "a/x.tif", picture(0.5))
    save(tmp_path / "clean", "b.png", picture(1.0))
    save(tmp_path / "clean", "a/x.npy", picture(0.75))
    images = read_noisy_images(tmp_path)
    assert images.unit == "relative"
    assert [image[0, 0] for image in images.noisy] == [0.5, 0.25]
    assert [image[0, 0] for image in images.clean] == [0.75, 1.0]
    assert images.sources == ("a", "b")  # the folder, or the picture itself
    assert images.second is None


def test_noise_that_nobody_clipped_goes_beyond_black_and_white(tmp_path):
    for folder, value in (("noisy", -0.9), ("clean", 0.1)):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "a.npy", picture(value))
    assert read_noisy_images(tmp_path).noisy[0][0, 0] == np.float32(-0.9)
    np.save(tmp_path / "noisy" / "a.npy", picture(2.5))
    with pytest.raises(UnsuitableImage, match=r"2\.5; without a rescale they must lie in -1 \.\. 2"):
        read_noisy_images(tmp_path)


def test_second_images_are_no_clean_ones(tmp_path):
    save(tmp_path / "noisy", "a.npy", picture(0.25))
    save(tmp_path / "second", "a.npy", picture(0.5))
    images = read_noisy_images(tmp_path)
    assert images.clean is None
    assert images.second[0][0, 0] == 0.5


def test_images_alone_and_what_is_no_image(tmp_path):
    save(tmp_path, "a.npy", picture(0.25))
    save(tmp_path, ".hidden/b.npy", picture(0.25))
    (tmp_path / "notes.txt").write_text("no image")
    told = []
    images = read_noisy_images(tmp_path, notice=told.append)
    assert len(images.noisy) == 1
    assert images.clean is None
    assert len(told) == 1
    assert "notes.txt" in told[0]


def test_dicom_series_of_a_zip_have_their_patient_as_source(tmp_path, write_dicom):
    write_dicom(tmp_path / "s", patient="Somebody", seed=1, slices=3)
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        for file in sorted((tmp_path / "s").iterdir()):
            archive.write(file, file.name)
    zipped = read_noisy_images(tmp_path / "s.zip")
    loose = read_noisy_images(tmp_path / "s")
    assert zipped.unit == "HU"
    assert len(zipped.noisy) == 3
    assert zipped.sources == loose.sources
    assert len(set(zipped.sources)) == 1
    assert "Somebody" not in zipped.sources[0]


def test_a_rescale_makes_hu_of_pictures(tmp_path):
    (tmp_path / "a.png").write_bytes(encode_png(picture(40.0), rescale=HU_IN_PNG))
    images = read_noisy_images(tmp_path, rescale=HU_IN_PNG)
    assert images.unit == "HU"
    assert images.noisy[0][0, 0] == 40


def test_some_are_spread_evenly(tmp_path):
    for number in range(10):
        save(tmp_path / "noisy", f"{number}.npy", picture(number / 10))
        save(tmp_path / "clean", f"{number}.npy", picture(number / 10))
    images = read_noisy_images(tmp_path)
    some = images.some(4)
    assert [image[0, 0] for image in some.noisy] == pytest.approx([0, 0.3, 0.6, 0.9])
    assert [image[0, 0] for image in some.clean] == pytest.approx([0, 0.3, 0.6, 0.9])
    assert len(images.some(99).noisy) == 10


def test_what_does_not_belong_together_is_said(tmp_path, write_dicom):
    with pytest.raises(NoTrainingData, match="does not exist"):
        read_noisy_images(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoTrainingData, match="holds no images"):
        read_noisy_images(tmp_path / "empty")
    pairs = tmp_path / "pairs"
    save(pairs / "noisy", "a.npy", picture(0.1))
    save(pairs / "noisy", "b.npy", picture(0.1))
    save(pairs / "clean", "a.npy", picture(0.1))
    with pytest.raises(UnpairedImages, match="1 files have no partner of the same name, the first is noisy/b"):
        read_noisy_images(pairs)
    save(pairs / "clean", "b.npy", picture(0.1, (9, 9)))
    with pytest.raises(UnpairedImages, match=r"b has 1 images of \(8, 10\) pixels in noisy/ and 1 of \(9, 9\)"):
        read_noisy_images(pairs)
    save(pairs / "noisy", "a.png", picture(0.1))
    with pytest.raises(UnpairedImages, match="two images called a"):
        read_noisy_images(pairs)
    write_dicom(tmp_path / "mixed", patient="P", seed=1)
    save(tmp_path / "mixed", "a.npy", picture(0.1))
    with pytest.raises(NoTrainingData, match="in HU and relative ones"):
        read_noisy_images(tmp_path / "mixed")

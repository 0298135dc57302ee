"""Pictures: the series of the domain `relative`, grayscale from 0 (black) to 1 (white).

    scikit-image's own pictures --luminance, halve what JPEG has left, crop--> one series each, in fixed roles
    generator ----------------------dead leaves-----------------------------> more series to fit
    your folder of PNG, TIFF, NPY --decode----------------------------------> one series a file

Nothing is downloaded: only what is in the installed package is read. Roles are split by picture, which takes the place
of the patient.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imaging.errors import ImagingError
from imaging.formats import decode
from imaging.limits import Limits
from training.data.datasets import Role
from training.data.dead_leaves import dead_leaves
from training.data.pairs import PreparedSeries
from training.errors import NoTrainingData

LARGEST_SIDE = 512
"""Pictures are cropped to this about their middle: no picture takes over the patches or an evaluation's time."""

DEAD_LEAVES = 12
DEAD_LEAVES_SIDE = 256
"""As many generated pictures, of that side, are fitted beside the photographs; they are in no other role."""

LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
"""Of red, green and blue (ITU-R BT.709)."""

_GENERATED_SEED = 2001
_SUFFIXES = {".png", ".tif", ".tiff", ".npy"}
_UNLIMITED = Limits(max_bytes=1 << 32, max_pixels=1 << 30, max_frames=1 << 16)  # the user's own files


@dataclass(frozen=True)
class PackagePicture:
    """A picture of scikit-image's data folder.

    Attributes:
        file: in that folder.
        role: what it is used for, always.
        halved: JPEG blocks and grain are averaged away, 2 x 2 pixels to one.
    """

    file: str
    role: Role
    halved: bool = False

    @property
    def name(self) -> str:
        return self.file.partition(".")[0]


# Each role has people or things, texture, and a scientific picture; report has enough sources for intervals.
PACKAGE_PICTURES = (
    PackagePicture("brick.png", "fit"),
    PackagePicture("cell.png", "fit"),
    PackagePicture("coffee.png", "fit"),
    PackagePicture("grass.png", "fit"),
    PackagePicture("hubble_deep_field.jpg", "fit", halved=True),
    PackagePicture("rocket.jpg", "fit", halved=True),
    PackagePicture("chelsea.png", "tune"),
    PackagePicture("ihc.png", "tune"),
    PackagePicture("moon.png", "tune"),
    PackagePicture("text.png", "tune"),
    PackagePicture("astronaut.png", "report"),
    PackagePicture("camera.png", "report"),
    PackagePicture("coins.png", "report"),
    PackagePicture("gravel.png", "report"),
    PackagePicture("motorcycle_left.png", "report"),
    PackagePicture("page.png", "report"),
    PackagePicture("retina.jpg", "report", halved=True),
)
"""Public domain or CC0, as scikit-image's documentation of each says."""


def package_pictures(role: Role) -> list[PreparedSeries]:
    """The series of a role that come with the installed packages; `fit` has dead leaves, too. Always the same.

    Raises:
        NoTrainingData: the installed scikit-image lacks one of the pictures.
    """
    pictures = [(each.name, _package_picture(each)) for each in PACKAGE_PICTURES if each.role == role]
    if role == "fit":
        side = (DEAD_LEAVES_SIDE, DEAD_LEAVES_SIDE)
        rngs = np.random.default_rng(_GENERATED_SEED).spawn(DEAD_LEAVES)
        pictures += [(f"dead-leaves-{number:02}", dead_leaves(side, rng)) for number, rng in enumerate(rngs)]
    return [picture_series(name, pixels[None]) for name, pixels in pictures]


def picture_series(name: str, images: NDArray[np.float32], source: str | None = None) -> PreparedSeries:
    """A series of (N, H, W) float32 pictures in 0..1.

    Args:
        name: of the series.
        images: its pictures.
        source: by which roles are split; default the name.
    """
    return PreparedSeries(name, source or name, (1.0, 1.0), "relative", float("nan"), images)


def picture_folder(folder: Path) -> list[PreparedSeries]:
    """The pictures of a folder and the folders in it, or of one file: PNG, TIFF and NPY, grayscale, a series each.

    Several pages of a TIFF file or planes of an NPY file are the slices of one series. A series' source is what its
    pixels hash to, so the same picture in two roles is found out whatever it is called.

    Raises:
        NoTrainingData: there is no picture, or one that cannot be used; the message names it and says why.
    """
    files = sorted(each for each in folder.rglob("*") if each.is_file()) if folder.is_dir() else [folder]
    pictures = [file for file in files if file.suffix.lower() in _SUFFIXES]
    if not pictures:
        raise NoTrainingData(f"{folder} holds no pictures: PNG, TIFF and NPY files are read")
    return [series for file in pictures for series in _read(file, file.relative_to(folder) if file != folder else file)]


def _read(file: Path, name: Path) -> Iterator[PreparedSeries]:
    try:
        frames = decode(file.read_bytes(), limits=_UNLIMITED)
    except ImagingError as error:
        raise NoTrainingData(f"{file} cannot be used: {error}") from error
    shapes = {image.shape for image in frames.images}
    if len(shapes) > 1:
        raise NoTrainingData(f"{file} has pages of several sizes; save them as files of their own")
    images = np.stack([image.pixels for image in frames.images])
    yield picture_series(name.with_suffix("").as_posix(), images, hashlib.sha256(images.tobytes()).hexdigest()[:16])


def _package_picture(picture: PackagePicture) -> NDArray[np.float32]:
    """(H, W) float32 in 0..1: luminance, perhaps halved, the middle `LARGEST_SIDE` pixels."""
    package = find_spec("skimage")  # where it lies, without importing it
    if package is None or package.origin is None:
        raise NoTrainingData("pictures come with scikit-image, which is not installed; give your own with --data DIR")
    file = Path(package.origin).parent / "data" / picture.file
    if not file.is_file():
        raise NoTrainingData(f"the installed scikit-image has no {picture.file}; give pictures with --data DIR")
    with Image.open(file) as opened:
        stored = np.asarray(opened)
    pixels = stored.astype(np.float32) / np.float32(np.iinfo(stored.dtype).max)
    if pixels.ndim == 3:  # noqa: PLR2004 - (H, W, colours)
        pixels = pixels @ LUMINANCE
    if picture.halved:
        height, width = (side // 2 * 2 for side in pixels.shape)
        pixels = pixels[:height, :width].reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3), dtype=np.float32)
    top, left = (max(0, side - LARGEST_SIDE) // 2 for side in pixels.shape)
    return np.ascontiguousarray(pixels[top : top + LARGEST_SIDE, left : left + LARGEST_SIDE])

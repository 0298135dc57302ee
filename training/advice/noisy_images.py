"""Reading what `clearslice advise` looks at: noisy images, and what goes with them.

    DIR/noisy/, DIR/clean/ or DIR/second/ --files of equal names--> NoisyImages with partners
    a folder of images, a zip of DICOM ---------------------------> NoisyImages alone
                          NoTrainingData, UnpairedImages

Files are DICOM, PNG, TIFF or NPY, told by their content. A source is a patient or, without one, the folder that a
picture lies in below `noisy/` (or the picture itself): what a held-out part must not share.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imaging.dicom_attributes import text
from imaging.errors import NotAnImage, UnsupportedFormat
from imaging.formats import Frames, decode
from imaging.image import Rescale, Unit
from imaging.limits import Limits
from imaging.series import read_series
from training.errors import NoTrainingData, UnpairedImages
from training.progress import Advance, Notice, silent

NOISY, CLEAN, SECOND = "noisy", "clean", "second"
"""The folders: degraded images, references, and other noisy images of the same places."""

NOISY_RANGE = (-1.0, 2.0)
"""Of relative floats: noise that nobody clipped reaches beyond 0..1; a network sees as much
(`training.networks.unet.SEEN`)."""

LIMITS = Limits(max_bytes=1 << 30, max_pixels=1 << 26, max_frames=1 << 12)
"""Of one file; the user's own, so only a guard against nonsense."""

Picture = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class NoisyImages:
    """Images of one unit.

    Attributes:
        unit: of all.
        sources: for each image, whose it is; equal for images of one patient or folder.
        noisy: (H, W) float32 each.
        clean: the references, or None.
        second: independent noisy images of the same places, or None.
    """

    unit: Unit
    sources: tuple[str, ...]
    noisy: tuple[Picture, ...]
    clean: tuple[Picture, ...] | None = None
    second: tuple[Picture, ...] | None = None

    def some(self, count: int) -> NoisyImages:
        """At most `count` of them, spread evenly."""
        chosen = np.unique(np.linspace(0, len(self.noisy) - 1, min(count, len(self.noisy))).round().astype(int))

        def picked(images: Sequence[Picture] | None) -> tuple[Picture, ...] | None:
            return None if images is None else tuple(images[index] for index in chosen)

        return NoisyImages(
            self.unit,
            tuple(self.sources[index] for index in chosen),
            tuple(self.noisy[index] for index in chosen),
            picked(self.clean),
            picked(self.second),
        )


def read_noisy_images(
    path: Path, *, rescale: Rescale | None = None, progress: Advance = silent, notice: Notice = silent
) -> NoisyImages:
    """All images of a folder or zip.

    Args:
        path: see the module.
        rescale: from stored values to HU, for PNG, TIFF and NPY files; None takes these as relative.
        progress: told ("read", files done, files in all).
        notice: told of files that are no images.

    Raises:
        NoTrainingData: `path` does not exist, or holds no image; or images of two units.
        UnpairedImages: a file without partner, or partners of different shapes or numbers of frames.
        ImagingError: an image that cannot be used; of DICOM in zip files, what `read_series` raises.
    """
    if not path.exists():
        raise NoTrainingData(f"{path} does not exist; give a folder with noisy/ and clean/, or a folder of images")
    if not (path / NOISY).is_dir():
        return _alone(path, rescale, progress, notice)
    noisy = _read_folder(path / NOISY, rescale, progress, notice)
    partners = {
        name: _read_folder(path / name, rescale, progress, notice) for name in (CLEAN, SECOND) if (path / name).is_dir()
    }
    for name, other in partners.items():
        _check_pairs(noisy, other, name)
    order = sorted(noisy)
    found = [image for key in order for image in noisy[key]]
    everything = [*found, *(image for other in partners.values() for images in other.values() for image in images)]
    return NoisyImages(
        _one_unit(path, everything),
        tuple(image.source for image in found),
        tuple(image.pixels for image in found),
        *(
            tuple(image.pixels for key in order for image in partners[name][key]) if name in partners else None
            for name in (CLEAN, SECOND)
        ),
    )


@dataclass(frozen=True, eq=False)
class _Read:
    source: str
    unit: Unit
    pixels: Picture


def _alone(path: Path, rescale: Rescale | None, progress: Advance, notice: Notice) -> NoisyImages:
    zips = [path] if path.is_file() and path.suffix == ".zip" else sorted(path.glob("*.zip"))
    images: list[_Read] = []
    for number, file in enumerate(zips, start=1):
        for series in read_series(file):
            images += [_Read(series.patient, "HU", plane) for plane in series.volume]
        progress("read", number, len(zips))
    if not images:
        images = [image for read in _read_folder(path, rescale, progress, notice).values() for image in read]
    return NoisyImages(
        _one_unit(path, images), tuple(each.source for each in images), tuple(each.pixels for each in images)
    )


def _read_folder(folder: Path, rescale: Rescale | None, progress: Advance, notice: Notice) -> dict[str, list[_Read]]:
    """Name below `folder`, without suffix -> its images; hidden files are left out, others that are none are told."""
    files = [folder] if folder.is_file() else [file for file in sorted(folder.rglob("*")) if _counts(file, folder)]
    found: dict[str, list[_Read]] = {}
    for number, file in enumerate(files, start=1):
        name = file.relative_to(folder).with_suffix("") if file != folder else Path(file.stem)
        try:
            data = file.read_bytes()
            frames = decode(
                data,
                limits=LIMITS,
                rescale=None if _states_unit(data) else rescale,
                relative_range=NOISY_RANGE,
            )
        except (NotAnImage, UnsupportedFormat) as error:
            notice(f"{file.name}: left out: {error}")
            continue
        if name.as_posix() in found:
            raise UnpairedImages(f"{folder} holds two images called {name.as_posix()}; keep one of them")
        found[name.as_posix()] = list(_images(frames, name))
        progress(f"read {folder.name}", number, len(files))
    if not found:
        raise NoTrainingData(f"{folder} holds no images: DICOM, PNG, TIFF and NPY files are read")
    return found


def _counts(file: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return file.is_file() and not hidden and file.name != "DICOMDIR"


def _states_unit(data: bytes) -> bool:
    """DICOM has a rescale of its own."""
    return data[128:132] == b"DICM"


def _images(frames: Frames, name: Path) -> Iterator[_Read]:
    for image in frames.images:
        patient = text(image.dataset, "PatientID") if image.dataset is not None else ""
        if patient:
            source = hashlib.sha256(patient.encode()).hexdigest()[:16]
        else:
            source = name.parent.as_posix() if name.parent != Path() else name.as_posix()
        yield _Read(source, image.unit, image.pixels)


def _check_pairs(noisy: dict[str, list[_Read]], other: dict[str, list[_Read]], folder: str) -> None:
    lonely = sorted(noisy.keys() ^ other.keys())
    if lonely:
        where, missing = (NOISY, folder) if lonely[0] in noisy else (folder, NOISY)
        raise UnpairedImages(
            f"{len(lonely)} files have no partner of the same name, the first is {where}/{lonely[0]}, which {missing}/"
            " lacks; add or remove them"
        )
    for name, images in noisy.items():
        shapes, others = ([image.pixels.shape for image in each] for each in (images, other[name]))
        if shapes != others:
            raise UnpairedImages(
                f"{name} has {len(shapes)} images of {shapes[0]} pixels in {NOISY}/ and {len(others)} of {others[0]} in"
                f" {folder}/; partners must have the same shape"
            )


def _one_unit(path: Path, images: Sequence[_Read]) -> Unit:
    units = {image.unit for image in images}
    if len(units) > 1:
        raise NoTrainingData(
            f"{path} holds images in HU and relative ones; keep them apart, or give --rescale-slope and"
            " --rescale-intercept for PNG, TIFF and NPY files in HU"
        )
    return units.pop()

"""Where the series of a role come from, for every domain.

ct        --data DIR--> train/ | tune/ | validation/ of DICOM series --prepare--> PreparedSeries
relative  --data DIR--> the same of PNG, TIFF and NPY files ---------------------> PreparedSeries
          no data ----> pictures that the installed packages have --------------> PreparedSeries
"""

from __future__ import annotations

from pathlib import Path

from training.data.datasets import Role, role_folder
from training.data.pairs import PreparedSeries, prepare
from training.data.pictures import package_pictures, picture_folder
from training.domains import Domain
from training.errors import NoTrainingData
from training.progress import Advance, Notice, silent


def series_of_role(
    domain: Domain,
    data: Path | None,
    role: Role,
    cache: Path,
    *,
    progress: Advance = silent,
    notice: Notice = silent,
) -> list[PreparedSeries]:
    """The series of one role; empty when the data has none for it.

    Args:
        domain: of the images.
        data: a folder with train/, tune/ and validation/, or one without these, which is all to fit; None for the
            pictures of the installed packages, of which there are none for ct.
        role: fit averages thin CT slices and leaves noisy series out, the others take every slice as it is.
        cache: as for `training.data.pairs.prepare`.
        progress, notice: as there.

    Raises:
        NoTrainingData: ct without data, `data` does not exist, or holds nothing that can be used.
    """
    if data is None:
        if domain == "ct":
            raise NoTrainingData("CT models are trained on your scans: give a folder of DICOM series with --data DIR")
        return package_pictures(role)
    folder = role_folder(data, role)
    if folder is None:
        return []
    if domain == "ct":
        return prepare([folder], cache, average=role == "fit", progress=progress, notice=notice)
    return picture_folder(folder)

"""The CT images among the files of a folder or archive.

    path --archive--> bytes --read_dicom--> data sets --(CT? localizer?)--> place, bytes, data set
                                                       left out, and counted

Files that are no DICOM or no CT images are left out: a study has reports and localizers beside its slices. A CT image
that cannot be read stops everything, because a series with a silent hole is worse than none.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.uid import UID, CTImageStorage

from imaging.archive import ArchiveLimits, order_of, read_members
from imaging.dicom_attributes import text
from imaging.dicom_file import SourceInstance, looks_like_dicom, read_dicom
from imaging.dicom_pixels import is_localizer
from imaging.errors import ImagingError, NotAnImage, UnsuitableImage
from imaging.limits import Limits

MAX_PIXELS = 4096 * 4096
"""Of one slice; CT scanners make 512 x 512 to 2048 x 2048."""


@dataclass
class LeftOut:
    """How many files were left out, and why.

    Attributes:
        strangers: that are no DICOM.
        others: DICOM objects of other kinds.
        localizers: SeriesInstanceUID -> how many.
    """

    strangers: int = 0
    others: int = 0
    localizers: dict[str, int] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """What kind of file -> how many, of those that there were."""
        found = {
            "no DICOM": self.strangers,
            "other DICOM objects": self.others,
            "localizers": sum(self.localizers.values()),
        }
        return {kind: count for kind, count in found.items() if count}

    def refusal(self) -> ImagingError:
        """The error for a folder or archive without any CT image."""
        if self.strangers and not (self.others or self.localizers):
            return NotAnImage(f"none of the {self.strangers} files is a DICOM file; CT images as DICOM are needed")
        return UnsuitableImage("no CT image (CT Image Storage, no localizer) among the DICOM files")


def ct_files(
    path: Path,
    limits: ArchiveLimits,
    left_out: LeftOut,
    *,
    kinds: Collection[UID] = (CTImageStorage,),
    wanted: Callable[[], bool] = lambda: True,
) -> Iterator[tuple[str, bytes, SourceInstance]]:
    """Place (as in `file 3 in the order of names`), whole file and data set of each CT image.

    Args:
        path: a folder, an archive, or one DICOM file.
        limits: of all files together.
        left_out: counts what is not given.
        kinds: SOP classes of the images that are.
        wanted: asked before each file; when it says no, there are no more.

    Raises:
        ImagingError: see `read_members` and `read_dicom`; of a file, with its place.
    """
    file_limits = Limits(max_bytes=limits.max_entry_bytes, max_pixels=MAX_PIXELS)
    order = order_of(path)
    for number, data in enumerate(read_members(path, limits), start=1):
        if not wanted():
            return
        place = f"file {number} {order}"
        if not looks_like_dicom(data):
            left_out.strangers += 1
            continue
        with located(place):
            dataset = read_dicom(data, limits=file_limits)
            if text(dataset, "SOPClassUID") not in kinds:
                left_out.others += 1
                continue
            if is_localizer(dataset):
                uid = text(dataset, "SeriesInstanceUID")
                left_out.localizers[uid] = left_out.localizers.get(uid, 0) + 1
                continue
        yield place, data, dataset


@contextlib.contextmanager
def located(place: str, *kinds: type[Exception]) -> Iterator[None]:
    """Says of an error in which file it is; of an ImagingError, and of further kinds."""
    expected: tuple[type[Exception], ...] = (ImagingError, *kinds)
    try:
        yield
    except expected as error:
        error.args = (f"{place}: {error}", *error.args[1:])
        raise

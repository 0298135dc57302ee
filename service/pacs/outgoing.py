"""What a peer is sent: the derived instances themselves, or what its configuration makes of them.

    derived/00001.dcm --(deidentify?)--(compress?)--> deliveries/<peer>/00001.dcm --> Outgoing
                  +----------------- neither ------------------------------------------^

Written once and kept, so that what is sent again is the same.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydicom import dcmread

from service.dicom.compression import compressed
from service.dicom.deidentify import deidentified
from service.files import write_file
from service.pacs.job_folder import JobFolder
from service.pacs.live import LiveJob
from service.pacs.secrets import fingerprint
from service.pacs.series_folder import OWNER_ONLY


@dataclass(frozen=True)
class Preparation:
    """How what a peer is sent differs from what was derived.

    Attributes:
        compress: lossless compression.
        secret: that identities are replaced by; None: they stay.
    """

    compress: Literal["none", "jpeg-ls", "jpeg-2000", "rle"] = "none"
    secret: bytes | None = None

    @property
    def kind(self) -> str:
        """A name for this way, and no other."""
        return f"{self.compress}-{'' if self.secret is None else fingerprint(self.secret, 'deidentified')[:8]}"

    @property
    def changes(self) -> bool:
        """Whether it differs at all."""
        return self.compress != "none" or self.secret is not None


@dataclass(frozen=True)
class Outgoing:
    """One instance, as it is sent."""

    number: int
    path: Path
    sop_class: str
    uid: str
    study: str
    series: str


def prepare(live: LiveJob, peer: str, preparation: Preparation) -> list[Outgoing]:
    """All instances of a restored job, as a peer is sent them, in order.

    Raises:
        OSError: the disk refuses it.
        RuleViolated: a compressed instance does not decode to the same values.
    """
    restored, folder = live.restored, live.folder
    assert restored is not None  # noqa: S101 - only what is restored is delivered
    numbers = sorted(restored.instances)
    if preparation.secret is None:
        paths = {number: _path(folder, peer, number, preparation) for number in numbers}
        return [
            Outgoing(
                number, paths[number], restored.sop_class, restored.instances[number], folder.job.study, restored.series
            )
            for number in numbers
        ]
    return [_read(number, _path(folder, peer, number, preparation)) for number in numbers]


def _path(folder: JobFolder, peer: str, number: int, preparation: Preparation) -> Path:
    derived = folder.derived(number)
    if not preparation.changes:
        return derived
    place = folder.outgoing(peer, preparation.kind) / derived.name
    if not place.is_file():
        data = derived.read_bytes()
        if preparation.secret is not None:
            data = deidentified(data, preparation.secret)
        if preparation.compress != "none":
            with contextlib.suppress(ValueError):  # tiny images, which the codec cannot hold: sent as they are
                data = compressed(data, preparation.compress)
        place.parent.mkdir(mode=OWNER_ONLY, exist_ok=True, parents=True)
        write_file(place, data, replace=True)
    return place


def _read(number: int, path: Path) -> Outgoing:
    """UIDs were replaced; the file says by what."""
    dataset = dcmread(path, stop_before_pixels=True)
    return Outgoing(
        number,
        path,
        str(dataset.SOPClassUID),
        str(dataset.SOPInstanceUID),
        str(dataset.StudyInstanceUID),
        str(dataset.SeriesInstanceUID),
    )

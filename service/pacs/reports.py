"""Reports of storage commitment, between the process that receives them and the one that waits for them.

N-EVENT-REPORT --keep--> reports/<id>.json --waiting--> CommitmentReport
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from service.files import write_file
from service.pacs.commitment import CommitmentReport
from service.pacs.series_folder import OWNER_ONLY


class Reports:
    """Those of one node.

    Args:
        folder: `pacs/` in the spool.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "reports"
        self._folder.mkdir(mode=OWNER_ONLY, exist_ok=True)

    def keep(self, report: CommitmentReport) -> None:
        """Keeps one until somebody has read it; on the disk when this returns."""
        name = hashlib.sha256(report.transaction_uid.encode()).hexdigest()[:32]
        document = {
            "transaction": report.transaction_uid,
            "committed": sorted(report.committed),
            "failed": report.failed,
        }
        write_file(self._folder / f"{name}.json", json.dumps(document).encode(), replace=True)

    def waiting(self) -> list[tuple[Path, CommitmentReport]]:
        """Those that came, with the files to be removed when they have been read."""
        return list(self._read())

    def _read(self) -> Iterator[tuple[Path, CommitmentReport]]:
        for path in sorted(self._folder.glob("*.json")):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                found = json.loads(path.read_bytes())
                yield (
                    path,
                    CommitmentReport(found["transaction"], frozenset(found["committed"]), dict(found["failed"])),
                )

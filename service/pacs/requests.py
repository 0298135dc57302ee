"""What an administrator asks of a node on the same machine, without a key: who may write into the spool may ask.

clearslice pacs requeue ID --put--> requests/<id>.json --waiting--> done by the node, and removed
"""

from __future__ import annotations

import contextlib
import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from service.files import write_file
from service.pacs.series_folder import OWNER_ONLY

What = Literal["requeue", "discard"]


@dataclass(frozen=True)
class AdminRequest:
    """One thing that is asked."""

    what: What
    job: str


class AdminRequests:
    """Those to one node.

    Args:
        folder: `pacs/` in the spool.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "requests"
        self._folder.mkdir(mode=OWNER_ONLY, parents=True, exist_ok=True)

    def put(self, request: AdminRequest) -> Path:
        """Asks; the file that is given vanishes when it has been done."""
        place = self._folder / f"{uuid.uuid4().hex}.json"
        write_file(place, json.dumps({"what": request.what, "job": request.job}).encode(), replace=False)
        return place

    def waiting(self) -> list[tuple[Path, AdminRequest]]:
        """What is asked, with the files to be removed when it has been done."""
        found = []
        for path in sorted(self._folder.glob("*.json")):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                asked = json.loads(path.read_bytes())
                if asked["what"] in get_args(What):
                    found.append((path, AdminRequest(asked["what"], str(asked["job"]))))
        return found

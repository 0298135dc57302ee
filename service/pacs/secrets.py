"""The secret by which identities are replaced for peers that must not know them. Made once, and kept in the spool."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from service.files import write_file

SECRET_BYTES = 32


def pseudonym_secret(folder: Path) -> bytes:
    """The secret of a node; whoever has it can tell which pseudonym an identity has.

    Args:
        folder: `pacs/` in the spool.
    """
    place = folder / "pseudonyms.key"
    with contextlib.suppress(FileExistsError):
        if not place.is_file():
            write_file(place, secrets.token_bytes(SECRET_BYTES), replace=False)
            os.chmod(place, 0o600)  # noqa: PTH101 - as everything here
    return place.read_bytes()

"""Files that are there whole or not at all, also after a crash.

bytes --> beside the place --flush--> disk --rename or link--> in place --flush the folder--> it stays there
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_file(target: Path, data: bytes, *, replace: bool) -> None:
    """Writes a file into a folder that is there.

    Args:
        target: its place.
        data: what it is to hold.
        replace: whether one that is there may be replaced.

    Raises:
        FileExistsError: the file is there and may not be replaced, even when it appeared this very moment.
        OSError: the folder cannot be written to, or the disk is full.
    """
    aside = target.with_name(f".{target.name[:200]}.{secrets.token_hex(4)}.part")
    try:
        with aside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            aside.replace(target)
        else:
            # Unlike a rename, a link never replaces what is there.
            target.hardlink_to(aside)
    finally:
        aside.unlink(missing_ok=True)
    flush_folder(target.parent)


def flush_folder(folder: Path) -> None:
    """What was renamed or linked in a folder stays so after a crash."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

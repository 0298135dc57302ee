"""The secret of a node: identities are replaced, and compared, by it. Made once, and kept in the spool."""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
from pathlib import Path

from service.files import write_file

SECRET_BYTES = 32


def node_secret(folder: Path) -> bytes:
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


def fingerprint(secret: bytes, text: str) -> str:
    """What tells whether two texts are the same, and without the secret nothing else: 32 digits of HMAC-SHA-256."""
    return hmac.new(secret, text.encode("utf-8", "surrogatepass"), "sha256").hexdigest()[:32]

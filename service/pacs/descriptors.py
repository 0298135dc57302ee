"""How many files and connections this process may have open.

soft limit --raise_descriptor_limit--> hard limit

Each association holds its connection, and up to `service.pacs.presence.MOST_SERIES` locks; the usual soft limit of 1024
is for programs that use select(), which ours do not where they receive.
"""

from __future__ import annotations

import contextlib
import resource


def raise_descriptor_limit() -> None:
    """As many as the system lets this process have; where it lets it have no more, it stays as it was."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

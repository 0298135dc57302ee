"""The memory of this process: how much it is, and giving back what is free."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
from collections.abc import Iterator
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
_LARGE_BYTES = 32 * 2**20
"""From here on an allocation is the system's own and goes back at once; the most that glibc takes."""

_KEPT_BYTES = 128 * 2**20
"""Free memory at the end of an arena that is kept."""

_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """What of the process is in memory now (Linux: proc(5), statm); 0 where that is not told."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE
    except OSError:
        return 0


@contextlib.contextmanager
def staying() -> Iterator[None]:
    """What is there, and what is made inside, stays: the collector does not look through it again and again meanwhile,
    nor ever after, with all threads waiting. TensorFlow alone is some hundred thousand objects.

    The first time, before any model is loaded; then it does nothing.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
    gc.collect()
    gc.freeze()


def keep_freed() -> None:
    """Tells glibc to keep the memory of images that were done with for the next ones (mallopt(3)).

    By itself it hands it to the system and asks for it again with each request, and each page of it costs a fault. Of
    each arena no more than `_KEPT_BYTES` at its end are kept, and `give_back` hands them over when a model goes.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def give_back() -> None:
    """Frees what is in reference cycles, as models are, and hands free memory to the system (glibc's malloc_trim)."""
    gc.collect()
    hand_over()


def hand_over() -> None:
    """Hands free memory to the system (glibc's malloc_trim)."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)

"""The program of a codec worker: native decoders, called one at a time, apart from the service.

    standard input, a socket: call --(known?)--> limits set --> function --> result or error --> the next call
                                                            MemoryError     end of input: exit

Started by `imaging.codec_process` as `python -m imaging.codec_worker MODULE ...`. It loads no TensorFlow, and NumPy
without the threads of its linear algebra. It takes its limits itself, before it looks at any foreign byte:

- address space (RLIMIT_AS): what it had after loading its modules and what the call allows on top;
- real time: the kernel ends it (SIGALRM) soon after its caller would have, so that it never outlives a dead caller;
- no core files, which would hold patient data, and no files written at all.
"""

from __future__ import annotations

import importlib
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from imaging.codec_message import Value, receive, send
from imaging.errors import ImagingError, TooLarge

MODULES = ("imaging.native_codecs", "imaging.tiff_codecs")
"""Whose functions are called in a worker; it loads them at its start."""

SLACK_BYTES = 64 << 20
"""Address space that a call may leave behind (caches of the allocator); a worker that keeps more is retired."""

GRACE_SECONDS = 2
"""By which the kernel's timer comes after the caller's."""

MAX_CALL_BYTES = 1 << 32
"""Of a call; it comes from the caller, who has bounded the file."""

REPORTED_CHARACTERS = 2000


def main(names: list[str]) -> int:
    """Answers calls on standard input until it ends."""
    connection = socket.socket(fileno=0)
    modules = {name: importlib.import_module(name) for name in names}
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    # A terminal or a service manager signals all processes of a group; the caller decides when its workers end.
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    loaded = address_space()
    send(connection, {"ready": True, "address_space": loaded})
    while True:
        try:
            head, arguments = receive(connection, max_bytes=MAX_CALL_BYTES)
        except EOFError:
            return 0
        signal.setitimer(signal.ITIMER_REAL, head["seconds"] + GRACE_SECONDS)
        _limit_address_space(loaded + SLACK_BYTES + head["memory"])
        answer, results = _call(modules, head, arguments)
        del arguments
        _limit_address_space(resource.RLIM_INFINITY)
        signal.setitimer(signal.ITIMER_REAL, 0)
        kept = address_space() - sum(getattr(result, "nbytes", 0) for result in results)
        send(connection, {**answer, "retire": kept > loaded + SLACK_BYTES}, results)


def _call(
    modules: dict[str, ModuleType], head: dict[str, Any], arguments: list[Value]
) -> tuple[dict[str, Any], list[Value]]:
    try:
        function = _function(modules, head["module"], head["function"])
        result = function(*arguments)
    except MemoryError:
        return {"failed": "memory"}, []
    except ImagingError as error:
        limit = error.limit if isinstance(error, TooLarge) else None
        return {"failed": type(error).__name__, "message": str(error), "limit": limit}, []
    except BaseException as error:  # noqa: BLE001 - a decoder may raise anything; the caller decides what it means
        trace = "".join(traceback.format_tb(error.__traceback__))[-REPORTED_CHARACTERS:]
        return {"failed": "unexpected", "message": type(error).__name__, "trace": trace}, []
    many = isinstance(result, tuple)
    return {"many": many}, list(result) if many else [result]


def _function(modules: dict[str, ModuleType], module: str, name: str) -> Callable[..., Any]:
    function = getattr(modules[module], name)
    if getattr(function, "__module__", None) != module:
        raise TypeError(f"{module} has no function {name} of its own")
    made: Callable[..., Any] = function
    return made


def address_space() -> int:
    """Bytes of address space that this process has."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize()


def _limit_address_space(count: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    within = count if hard == resource.RLIM_INFINITY else hard if count == resource.RLIM_INFINITY else min(count, hard)
    resource.setrlimit(resource.RLIMIT_AS, (within, hard))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`clearslice pacs listen`: the door alone, in a process without models, which survives a crash of the engine.

SIGTERM --> no more associations --> exit 0
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path

from service.errors import UnsafeConfiguration
from service.pacs.arrivals import Arrivals, folder_of
from service.pacs.audit.trail import open_trail
from service.pacs.configuration import Configuration
from service.pacs.receiver import Receiver
from service.settings import Settings


def listen(
    configuration: Configuration, spool: Path, settings: Settings, *, ready: Callable[[int], object] = lambda _: None
) -> None:
    """Takes instances into the spool until SIGTERM or SIGINT.

    Args:
        configuration: of the node, with a port.
        spool: of the app that makes something of them.
        settings: limits of one file.
        ready: called with the port when it listens.

    Raises:
        UnsafeConfiguration: there is no port, or the address or the spool cannot be used.
    """
    node = configuration.node
    if node.port is None:
        raise UnsafeConfiguration("pacs.toml names no port for the node, so that there is nothing to listen on")
    ended = threading.Event()
    before = {sig: signal.signal(sig, lambda *_: ended.set()) for sig in (signal.SIGTERM, signal.SIGINT)}
    trail = open_trail(configuration.audit, node.aet)
    try:
        receiver = Receiver(Arrivals(folder_of(spool), configuration, settings), configuration, settings, trail=trail)
        receiver.start()
        trail.started()
        ready(receiver.port)
        ended.wait()
        receiver.stop()
        trail.stopped()
    except OSError as error:
        raise UnsafeConfiguration(f"the node cannot listen on {node.host}:{node.port}: {error.strerror}") from None
    finally:
        trail.close()
        for sig, handler in before.items():
            signal.signal(sig, handler)

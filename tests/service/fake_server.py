"""A real server process around a model that waits: `python fake_server.py STORE GATE`, settings from the environment.

The restorer opens GATE, a FIFO, for reading: it blocks until the test opens the other end, and runs on when the test
closes it. The first line on standard output is the port.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

from model_store.store import ModelStore
from service.app import create_app
from service.server import serve_app
from service.settings import Settings
from service.telemetry import configure_logging


class WaitingRestorer:
    """Gives back what it gets, once the gate is open."""

    precision, device, timings = "float32", "CPU:0", {}

    def __init__(self, gate: Path) -> None:
        self._gate = gate

    def __call__(self, batch: Any) -> Any:
        self._gate.read_bytes()
        return batch


def main() -> None:
    """Serves until SIGTERM."""
    store, gate = Path(sys.argv[1]), Path(sys.argv[2])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = Settings(port=port, warm_sizes=())
    app = create_app(settings, store=ModelStore(store, published=None), load=lambda _: WaitingRestorer(gate))
    configure_logging("info")
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    serve_app(app, settings)


if __name__ == "__main__":
    main()

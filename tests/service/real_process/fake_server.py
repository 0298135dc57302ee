"""A real server process with models that are quick to load: `python fake_server.py STORE [GATE]`.

Settings come from the environment. With GATE, a FIFO, each restoration opens it for reading: it blocks until the test
opens the other end, and runs on when the test closes it. Without, images come back as they went in. The first line on
standard output is the port.
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


class FakeRestorer:
    """Gives back what it gets, once the gate is open."""

    precision, device, timings = "float32", "CPU:0", {}

    def __init__(self, gate: Path | None) -> None:
        self._gate = gate

    def __call__(self, batch: Any) -> Any:
        if self._gate is not None:
            self._gate.read_bytes()
        return batch


def main() -> None:
    """Serves until SIGTERM."""
    store, gate = Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = Settings(port=port, warm_sizes=())
    app = create_app(settings, store=ModelStore(store, published=None), load=lambda _: [FakeRestorer(gate)])
    configure_logging("info")
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    serve_app(app, settings)


if __name__ == "__main__":
    main()

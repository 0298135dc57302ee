"""`python -m clearslice.health`: whether the server on this machine takes requests, for a container's health check.

    GET CLEARSLICE_HOST:CLEARSLICE_PORT/v2/health/ready --200--> exit 0
                                                  --else-> exit 1, with the server's reason on standard error

A health check runs every few seconds beside the model, and images hold no curl: so this loads nothing but the standard
library's HTTP client and reads two environment variables, not `service.settings` (0.05 s instead of 1 s of a core).
"""

from __future__ import annotations

import http.client
import os
import sys

TIMEOUT_SECONDS = 5.0
"""Readiness never waits for the device, so an answer that takes longer means that the server is stuck."""

_MOST_BYTES = 500
"""Of an answer: enough for the reason, which is one sentence."""

_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - recognised here, not bound
"""Addresses that mean all addresses -> the one by which this machine reaches itself."""


def main() -> int:
    """Asks the server that CLEARSLICE_HOST and CLEARSLICE_PORT name; the exit status."""
    host = address_of(os.environ.get("CLEARSLICE_HOST", ""))
    port = int(os.environ.get("CLEARSLICE_PORT") or 8000)
    connection = http.client.HTTPConnection(host, port, TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/v2/health/ready")
        answer = connection.getresponse()
        text = answer.read(_MOST_BYTES).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        sys.stderr.write(f"no answer from port {port}: {error}\n")
        return 1
    finally:
        connection.close()
    if answer.status == http.client.OK:
        return 0
    sys.stderr.write(f"status {answer.status}: {text}\n")
    return 1


def address_of(bound: str) -> str:
    """Where a server answers this machine that binds the address `bound`; empty means the default, loopback."""
    host = bound.strip("[]") or "127.0.0.1"
    return _LOOPBACK.get(host, host)


if __name__ == "__main__":
    sys.exit(main())

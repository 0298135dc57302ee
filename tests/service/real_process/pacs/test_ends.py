"""A PACS node that is told to end, and one whose door is a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

PATIENCE = 20.0
SERIES = "1.2.3.80"


def end(server):
    """As an operator does."""
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(PATIENCE) == 0


def test_told_to_end_in_the_middle_of_a_delivery(node, kit):
    files, late = kit.series(4, SERIES), kit.series(20, "1.2.3.81")
    node.archive.hold_at(2)
    with node.serving() as server:
        node.send(files.values())
        server.until(lambda: node.archive.count == 2)
        sending = kit.Sending(node, late.values())
        server.until(lambda: bool(sending.heard))
        server.process.send_signal(signal.SIGTERM)
        server.until(lambda: not server.accepts())
        node.archive.go_on()
        assert server.process.wait(PATIENCE) == 0
        sending.join(PATIENCE)
    with node.serving() as server:
        node.send(late.values())
        kit.check(node, server, {**files, **late})
    # it ended in order: nothing that was answered is sent again
    assert len(node.archive.attempts) == len(files) + len(late)


def test_told_to_end_while_it_restores(node, kit):
    files = kit.series(4, SERIES)
    with node.serving(gated=True) as server:
        node.send(files.values())
        kit.pass_through(node, server, 2)
        with server.open_gate():
            server.process.send_signal(signal.SIGTERM)
            server.until(lambda: not server.accepts())
        assert server.process.wait(PATIENCE) == 0
    with node.serving() as server:
        kit.check(node, server, files)


@contextmanager
def listening(node):
    """`clearslice pacs listen`."""
    command = [str(Path(sys.executable).with_name("clearslice")), "pacs", "listen"]
    environment = {**os.environ, "CLEARSLICE_PACS": str(node.configuration), "CLEARSLICE_SPOOL": str(node.spool)}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def listens(node):
    """Whether somebody takes associations."""
    try:
        socket.create_connection(("127.0.0.1", node.port), timeout=PATIENCE).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("node", [{"apart": "true"}], indirect=True)
def test_a_door_of_its_own_takes_series_while_the_server_is_down(node, kit):
    first, second, third = (kit.series(3, f"1.2.3.9{number}") for number in range(3))
    with node.serving() as server:
        assert not listens(node)
        with listening(node) as door:
            server.until(lambda: listens(node))
            node.send(first.values())
            kit.check(node, server, first)
            server.process.kill()
            server.process.wait(PATIENCE)
            node.send(second.values())
            door.kill()
            door.wait(PATIENCE)
        with listening(node) as door:
            server.until(lambda: listens(node))
            node.send(third.values())
            door.send_signal(signal.SIGTERM)
            assert door.wait(PATIENCE) == 0
    with node.serving() as server:
        kit.check(node, server, {**first, **second, **third})

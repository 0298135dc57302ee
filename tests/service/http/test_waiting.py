"""How long a connection may wait with its head, with a clock of our own."""

from __future__ import annotations

import runpy
import types
from pathlib import Path

import pytest
import uvicorn
from uvicorn.server import ServerState

from service.http.protocol import HEAD_SECONDS, Http

KIT = types.SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("wire.py"))))
KEEP_ALIVE = 65


class Loop:
    """Timers that are rung by hand."""

    def __init__(self):
        self.timers = []

    def call_soon(self, call):
        return self.call_later(0, call)

    def call_later(self, seconds, call):
        timer = types.SimpleNamespace(seconds=seconds, call=call, on=True)
        timer.cancel = lambda: setattr(timer, "on", False)
        self.timers.append(timer)
        return timer

    def create_task(self, coroutine):
        coroutine.close()
        return Task()

    def running(self):
        return [timer for timer in self.timers if timer.on]


class Task:
    def add_done_callback(self, call):
        pass


async def app(_scope, _receive, _send):
    raise AssertionError


@pytest.fixture
def connection():
    """A connection that was just made, its loop and its transport."""
    config = uvicorn.Config(app, timeout_keep_alive=KEEP_ALIVE, lifespan="off")
    config.load()
    loop, transport = Loop(), KIT.Wire()
    made = Http(config, ServerState(), {}, loop)
    made.connection_made(transport)
    return made, loop, transport


def test_who_says_nothing_is_left_without_a_word(connection):
    _, loop, transport = connection
    (timer,) = loop.running()
    assert timer.seconds == KEEP_ALIVE
    timer.call()
    assert (transport.written, transport.closed) == (b"", True)


def test_a_slow_head_is_told_so(connection):
    made, loop, transport = connection
    made.data_received(b"GET / HTT")
    (timer,) = loop.running()
    made.data_received(b"P/1.1\r\nHost: ")
    assert loop.running() == [timer]  # no byte buys more time
    assert timer.seconds == HEAD_SECONDS
    timer.call()
    assert transport.written.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"/problems/head-timeout" in transport.written
    assert transport.closed


def test_a_whole_head_has_all_the_time_for_what_follows(connection):
    made, loop, _ = connection
    made.data_received(b"POST / HT")
    made.data_received(b"TP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n")
    made.data_received(b"12345")
    assert loop.running() == []


def test_nothing_rings_after_the_end(connection):
    made, loop, _ = connection
    made.data_received(b"GET / HTT")
    made.connection_lost(None)
    assert loop.running() == []

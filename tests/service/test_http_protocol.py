"""How long a connection may wait with its head; with a clock of our own."""

from __future__ import annotations

import types

import pytest
import uvicorn
from uvicorn.server import ServerState

from service.api.linger import LINGER_SECONDS
from service.http_protocol import HEAD_SECONDS, LimitedHttp

KEEP_ALIVE = 65


class Loop:
    """Timers that are rung by hand."""

    def __init__(self):
        self.timers = []

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


class Transport:
    def __init__(self):
        self.written, self.ended, self.closed = b"", False, False

    def get_extra_info(self, _name):
        return None

    def is_closing(self):
        return self.closed

    def write(self, data):
        self.written += data

    def write_eof(self):
        self.ended = True

    def close(self):
        self.closed = True

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass


async def app(_scope, _receive, _send):
    raise AssertionError


@pytest.fixture
def connection():
    """A connection that was just made, its loop and its transport."""
    config = uvicorn.Config(app, timeout_keep_alive=KEEP_ALIVE, lifespan="off")
    config.load()
    loop, transport = Loop(), Transport()
    made = LimitedHttp(config, ServerState(), {}, loop)
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
    made.data_received(b"P/1.1\r\nHost: ")
    (timer,) = loop.running()
    assert timer.seconds == HEAD_SECONDS
    timer.call()
    assert transport.written.startswith(b"HTTP/1.1 408 ")
    assert b"/problems/head-timeout" in transport.written
    (timer,) = loop.running()
    assert timer.seconds == LINGER_SECONDS  # so that the client can read it
    assert (transport.ended, transport.closed) == (True, False)
    made.data_received(b"localhost\r\n\r\n")
    timer.call()
    assert transport.closed
    assert transport.written.count(b"HTTP/1.1") == 1


def test_a_slow_head_after_a_request_is_told_so(connection):
    made, loop, transport = connection
    made.data_received(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    made.cycle.response_complete = True
    made.data_received(b"GET / HTT")
    (timer,) = loop.running()
    assert timer.seconds == HEAD_SECONDS
    timer.call()
    assert transport.written.startswith(b"HTTP/1.1 408 ")


def test_a_whole_head_has_all_the_time_for_what_follows(connection):
    made, loop, _ = connection
    made.data_received(b"POST / HT")
    made.data_received(b"TP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n")
    made.data_received(b"12345")
    assert loop.running() == []


def test_empty_lines_buy_no_time(connection):
    """uvicorn ends its own wait with each byte."""
    made, loop, _ = connection
    made.data_received(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    made.cycle.response_complete = True
    made.data_received(b"\r\n")
    (timer,) = loop.running()
    assert timer.seconds == KEEP_ALIVE
    made.data_received(b"GET / HT")
    (timer,) = loop.running()
    assert timer.seconds == HEAD_SECONDS


def test_a_broken_body_ends_the_request_that_waits_for_it(connection):
    made, _, transport = connection
    made.data_received(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
    made.data_received(b"nonsense\r\n")
    assert made.cycle.disconnected
    assert transport.written.startswith(b"HTTP/1.1 400 ")


def test_an_answer_that_has_begun_is_not_written_into(connection):
    made, _, transport = connection
    made.data_received(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
    made.cycle.response_started = True
    made.data_received(b"nonsense\r\n")
    assert (transport.written, transport.closed) == (b"", True)


def test_nothing_rings_after_the_end(connection):
    made, loop, _ = connection
    made.data_received(b"GET / HTT")
    made.connection_lost(None)
    assert loop.running() == []

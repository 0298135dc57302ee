"""How long a connection may wait with its head, with a clock of our own; and bodies, however they come in pieces."""

from __future__ import annotations

import asyncio
import itertools
import types

import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from service.http_protocol import HEAD_SECONDS, Http

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
        self.written, self.closed = b"", False

    def get_extra_info(self, _name):
        return None

    def is_closing(self):
        return self.closed

    def write(self, data):
        self.written += data

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


class Wire(Transport):
    """Tells whether it may read."""

    def __init__(self):
        super().__init__()
        self.may_read = True

    def pause_reading(self):
        self.may_read = False

    def resume_reading(self):
        self.may_read = True


async def converse(protocol, pieces, *, reads_first):
    """What an app was asked, and what went back, when pieces came one after the other, with so many turns of the loop
    between them."""
    asked = []

    async def echo(scope, receive, send):
        body = bytearray()

        async def read():
            while True:
                message = await receive()
                body.extend(message.get("body", b""))
                if not message.get("more_body", False):
                    return

        if reads_first:
            await read()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        asked.append((scope["method"], scope["path"], bytes(body)))
        await send({"type": "http.response.body", "body": memoryview(b"do"), "more_body": True})
        await send({"type": "http.response.body", "body": b"ne"})

    config = uvicorn.Config(echo, lifespan="off", access_log=False, log_level="error")
    config.load()
    wire, state = Wire(), ServerState()
    made = protocol(config, state, {}, asyncio.get_running_loop())
    made.connection_made(wire)
    for piece, breath in pieces:
        await settle(lambda: wire.may_read or wire.closed)
        if wire.closed:
            break
        made.data_received(piece)
        for _ in range(breath):
            await asyncio.sleep(0)
    await settle(lambda: not state.tasks)
    made.connection_lost(None)
    await settle(lambda: not state.tasks)
    assert not state.tasks
    return asked, wire.written


async def settle(condition):
    """Lets others go on until it is so, or nothing more will happen."""
    for _ in range(100):
        if condition():
            break
        await asyncio.sleep(0)


KINDS = (st.sampled_from([0, 1, 5, 70_000, 140_000]), st.sampled_from(["length", "length", "chunked", "both", "none"]))
GOING_ON = ["", "Connection: Upgrade\r\nUpgrade: h2c", "Expect: 100-continue"]
REQUESTS = st.builds(
    lambda others, last: [*others, last],
    st.lists(st.tuples(*KINDS, st.just(1), st.sampled_from(GOING_ON)), max_size=3),
    st.tuples(*KINDS, st.integers(0, 1), st.sampled_from([*GOING_ON, "Connection: close"])),
)
"""After HTTP/1.0, or close, nothing comes: h11 would rather lose the request before it than not complain."""


def written(length, way, version, header):
    """A request with its body by length or in chunks, or with none."""
    head = f"POST /{length} HTTP/1.{version}\r\nHost: a\r\n{header}\r\n".replace("\r\n\r\n", "\r\n").encode()
    body = bytes(range(256)) * (length // 256) + bytes(length % 256)
    if way == "none":
        return head + b"\r\n"
    if way == "length":
        return head + b"Content-Length: %d\r\n\r\n" % length + body
    if way == "both":
        head += b"Content-Length: 3\r\n"
    chunks = b"%x\r\n%b\r\n" % (length, body) if length else b""
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


SIZES = st.lists(st.sampled_from([1, 2, 40, 90, 110, 130, 3_000, 69_990, 70_000, 70_200]), max_size=12)
BREATHS = st.lists(st.sampled_from([0, 1, 9]), min_size=13, max_size=13)


@settings(max_examples=600)
@given(REQUESTS, SIZES, BREATHS, st.booleans())
def test_an_app_is_asked_and_answers_as_if_h11_had_read_all(sent, sizes, breaths, reads_first):
    stream = b"".join(itertools.starmap(written, sent))
    places = [*itertools.accumulate(sizes, initial=0), len(stream)]
    cuts = [stream[begin:end] for begin, end in itertools.pairwise(places) if begin < len(stream)]
    pieces = list(zip(cuts, breaths, strict=False))

    def by(protocol):
        return asyncio.run(converse(protocol, pieces, reads_first=reads_first))

    (asked, answered), (expected, answer) = by(Http), by(H11Protocol)
    assert [each[:2] for each in asked] == [each[:2] for each in expected]
    assert answered == answer
    assert asked == expected

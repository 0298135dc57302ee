"""Requests and their bodies, however they come in pieces, as uvicorn's own protocol would have them; and who leaves."""

from __future__ import annotations

import asyncio
import itertools
import runpy
import types
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.protocols.http.h11_impl import H11Protocol

from service.http.body import PIECE_BYTES
from service.http.leaving import offered
from service.http.protocol import Connection

KIT = types.SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("wire.py"))))
connected, read, settle = KIT.connected, KIT.read, KIT.settle


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

    made, wire, state = connected(protocol, echo)
    for piece, breath in pieces:
        await read(made, wire, piece)
        for _ in range(breath):
            await asyncio.sleep(0)
    await settle(lambda: not state.tasks)
    made.connection_lost(None)
    await settle(lambda: not state.tasks)
    assert not state.tasks
    return asked, wire.written


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


PIECES = st.sampled_from([1_000, 50_000, PIECE_BYTES])


@settings(max_examples=600)
@given(REQUESTS, SIZES, BREATHS, st.booleans(), PIECES)
def test_an_app_is_asked_and_answers_as_if_h11_had_read_all(sent, sizes, breaths, reads_first, piece_bytes):
    stream = b"".join(itertools.starmap(written, sent))
    places = [*itertools.accumulate(sizes, initial=0), len(stream)]
    cuts = [stream[begin:end] for begin, end in itertools.pairwise(places) if begin < len(stream)]
    pieces = list(zip(cuts, breaths, strict=False))

    def by(protocol):
        return asyncio.run(converse(protocol, pieces, reads_first=reads_first))

    with mock.patch("service.http.body.PIECE_BYTES", piece_bytes):
        asked, answered = by(Connection)
    expected, answer = by(H11Protocol)
    assert [each[:2] for each in asked] == [each[:2] for each in expected]
    assert answered == answer
    assert asked == expected


HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"


async def drain(receive):
    """A body, piece by piece."""
    pieces, more = [], True
    while more:
        message = await receive()
        pieces.append(message.get("body"))
        more = message.get("more_body", False)
    return pieces


def test_a_body_of_one_piece_reaches_the_app_in_one():
    found = []

    async def app(_scope, receive, send):
        found.append(await drain(receive))
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    async def main():
        made, wire, state = connected(Connection, app)
        body = bytes(range(250)) * 4000
        await read(made, wire, HEAD % len(body) + body)
        await settle(lambda: not state.tasks)
        made.connection_lost(None)
        return body

    assert [[asyncio.run(main())]] == found


@pytest.mark.parametrize("when", ["before", "during"])
def test_an_app_learns_that_its_client_has_left(when):
    left = []

    async def app(scope, receive, _send):
        await drain(receive)
        await offered(scope)
        left.append(True)

    async def main():
        made, wire, state = connected(Connection, app)
        await read(made, wire, HEAD % 5 + b"12345")
        if when == "during":
            await settle(lambda: False)
        made.connection_lost(None)
        await settle(lambda: not state.tasks)

    asyncio.run(main())
    assert left == [True]


def test_who_left_was_only_the_client_of_this_connection():
    async def main():
        first, second = ([], [])

        def app(found):
            async def asgi(scope, receive, send):
                await drain(receive)
                found.append(offered(scope))
                await send({"type": "http.response.start", "status": 204})
                await send({"type": "http.response.body"})

            return asgi

        (made, wire, _), (other, its, _) = connected(Connection, app(first)), connected(Connection, app(second))
        for connection, line in ((made, wire), (other, its), (made, wire)):
            await read(connection, line, HEAD % 1 + b"1")
            await settle(lambda: False)
        made.connection_lost(None)
        other_left = [future.done() for future in second]
        other.connection_lost(None)
        return [future.done() for future in first], other_left

    assert asyncio.run(main()) == ([False, True], [False])


def test_who_is_answered_before_his_body_was_read_is_heard_out_in_small_pieces():
    found = []

    async def app(_scope, receive, send):
        await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
        found.extend(await drain(receive))
        await send({"type": "http.response.body"})

    async def main():
        made, wire, state = connected(Connection, app)
        body = bytes(range(250)) * 4000
        await read(made, wire, HEAD % len(body))
        await settle(lambda: False)
        await read(made, wire, body)
        await settle(lambda: not state.tasks)
        made.connection_lost(None)
        return body

    assert asyncio.run(main()) == b"".join(found)
    assert max(map(len, found)) <= 20_000


def test_a_body_that_breaks_off_behind_an_answer_that_has_begun_ends_the_connection():
    """Nothing can be said there any more."""

    async def app(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"so far", "more_body": True})
        await asyncio.Event().wait()

    async def main():
        made, wire, state = connected(Connection, app)
        await read(made, wire, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        await settle(lambda: b"so far" in wire.written)
        await read(made, wire, b"nonsense\r\n")
        assert wire.is_closing()
        for task in state.tasks:
            task.cancel()
        return wire.written

    assert asyncio.run(main()).count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("reads", [True, False])
def test_an_app_whose_client_broke_off_his_body_has_nobody_to_answer(reads):
    """The connection has answered for it: what it sends goes nowhere, and is no failure."""
    ended = []

    async def app(_scope, receive, send):
        while reads and (await receive())["type"] != "http.disconnect":
            pass
        await send({"type": "http.response.start", "status": 401, "headers": []})
        await send({"type": "http.response.body"})
        ended.append(True)

    async def main():
        made, wire, state = connected(Connection, app)
        await read(made, wire, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n")
        await settle(lambda: not state.tasks)
        made.connection_lost(None)
        return wire.written

    written = asyncio.run(main())
    assert ended == [True]
    assert written.startswith(b"HTTP/1.1 400")
    assert b"401" not in written

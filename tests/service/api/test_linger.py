"""Answers before the end of an upload: what the server is told, and when."""

from __future__ import annotations

import asyncio

import pytest
from starlette.responses import PlainTextResponse

from service.api.linger import LingeringClose

pytestmark = pytest.mark.anyio


async def refuse(scope, receive, send):
    await PlainTextResponse("no", status_code=413)(scope, receive, send)


async def read_first(scope, receive, send):
    while (await receive())["more_body"]:
        pass
    await PlainTextResponse("yes")(scope, receive, send)


class Connection:
    """What a server sees: messages that come in, after which the client stays or leaves, and those that go out."""

    def __init__(self, *chunks: bytes, then: str = "stay") -> None:
        self.incoming = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
        if then == "end":
            self.incoming[-1]["more_body"] = False
        elif then == "leave":
            self.incoming.append({"type": "http.disconnect"})
        self.sent: list[dict] = []
        self.left_when_answered = -1

    async def receive(self):
        if not self.incoming:
            await asyncio.Event().wait()
        return self.incoming.pop(0)

    async def send(self, message):
        if message.get("body"):
            self.left_when_answered = len(self.incoming)
        self.sent.append(message)

    async def call(self, app, *, seconds=5.0, headers=((b"content-length", b"9"),)):
        scope = {"type": "http", "method": "POST", "path": "/", "headers": list(headers)}
        await LingeringClose(app, seconds=seconds)(scope, self.receive, self.send)
        return self.sent


@pytest.mark.parametrize("then", ["end", "leave"])
async def test_the_rest_is_read_after_the_answer_and_before_the_close(then):
    connection = Connection(b"aaa", b"bbb", b"ccc", then=then)
    start, body, end = await connection.call(refuse)
    assert (b"connection", b"close") in start["headers"]
    assert (body["body"], body["more_body"]) == (b"no", True)
    assert end == {"type": "http.response.body", "body": b"", "more_body": False}
    assert connection.left_when_answered >= 3
    assert connection.incoming == []


async def test_a_client_that_never_ends_is_left_after_a_while():
    async with asyncio.timeout(10):
        sent = await Connection(b"aaa").call(refuse, seconds=0.01)
    assert sent[-1]["more_body"] is False


async def test_a_body_that_was_read_keeps_the_connection():
    start, body = await Connection(b"aaa", b"bbb", then="end").call(read_first)
    assert not any(name == b"connection" for name, _ in start["headers"])
    assert not body.get("more_body", False)


@pytest.mark.parametrize("headers", [[], [(b"content-length", b"0")]])
async def test_requests_without_body_are_not_waited_for(headers):
    start, body = await Connection().call(refuse, headers=headers)
    assert not any(name == b"connection" for name, _ in start["headers"])
    assert not body.get("more_body", False)


async def test_a_chunked_body_counts():
    sent = await Connection(b"aaa", then="end").call(refuse, headers=[(b"transfer-encoding", b"chunked")])
    assert len(sent) == 3

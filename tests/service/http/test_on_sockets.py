"""The protocol on real connections, under both event loops that can serve: clients that leave in whatever way."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest
import uvicorn
import uvloop

from service.http.leaving import offered
from service.http.protocol import Connection

PATIENCE = 5.0


@pytest.fixture(params=[uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def run(request):
    """Runs what clients do, given the port of a server of an app; returns what they give, and what the loop complained
    of."""

    def run(app, clients):
        complaints = []

        async def main():
            asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
            with socket.create_server(("127.0.0.1", 0)) as listening:
                config = uvicorn.Config(app, http=Connection, lifespan="off", access_log=False, log_level="critical")
                server = uvicorn.Server(config)
                serving = asyncio.create_task(server.serve([listening]))
                async with asyncio.timeout(4 * PATIENCE):
                    found = await clients(listening.getsockname()[1])
                    server.should_exit = True
                    await serving
                return found

        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(main()), complaints

    return run


async def hello(_scope, _receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


def test_who_has_said_all_still_gets_his_answer(run):
    async def client(port):
        answers = []
        for _ in range(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            writer.write_eof()
            answers.append(await reader.read())
            writer.close()
        return answers

    answers, complaints = run(hello, client)
    assert [answer.endswith(b"hello") for answer in answers] == [True] * 20
    assert complaints == []


SIZES = [100, 60_000, 70_000, 80_000, 300_000]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("way", ["chunked", "length"])
@pytest.mark.parametrize("apart", [False, True], ids=["with its head", "after its head"])
def test_an_app_learns_that_its_client_has_left(run, size, way, apart):
    begun, had, left = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def app(scope, receive, _send):
        begun.set()
        while (await receive())["more_body"]:
            pass
        had.set()
        await offered(scope)
        left.set()

    async def client(port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        body, head = bytes(size), b"POST / HTTP/1.1\r\nHost: a\r\n"
        if way == "chunked":
            head, body = head + b"Transfer-Encoding: chunked\r\n\r\n", b"%x\r\n%b\r\n0\r\n\r\n" % (size, body)
        else:
            head += b"Content-Length: %d\r\n\r\n" % size
        writer.write(head)
        if apart:
            await begun.wait()
        writer.write(body)
        await writer.drain()
        await had.wait()
        writer.close()
        await asyncio.wait_for(left.wait(), PATIENCE)

    run(app, client)


def test_who_leaves_in_the_middle_of_an_answer_leaves_no_trace(run):
    clients, left, all_left = 20, [], asyncio.Event()

    async def endless(scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not offered(scope).done():
            await send({"type": "http.response.body", "body": bytes(200), "more_body": True})
            await asyncio.sleep(0)
        left.append(scope)
        if len(left) == clients:
            all_left.set()

    def leave(port):
        for number in range(clients):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                connection.recv(100)
                if number % 2:  # without the usual end
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def client(port):
        await asyncio.to_thread(leave, port)
        await asyncio.wait_for(all_left.wait(), PATIENCE)

    assert run(endless, client)[1] == []


def test_a_body_arrives_as_it_was_sent_however_many_pieces_it_has(run):
    body = bytes(range(251)) * 20_000

    async def app(_scope, receive, send):
        found, more = bytearray(), True
        while more:
            message = await receive()
            found += message["body"]
            more = message["more_body"]
        await hello(None, None, send) if found == body else None

    async def client(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answers = []
        for _ in range(3):
            writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body))
            writer.write(body)
            answers.append(await reader.readuntil(b"hello"))
        writer.close()
        return len(answers)

    assert run(app, client) == (3, [])

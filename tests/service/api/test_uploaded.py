"""Work that is done for a client that may leave."""

from __future__ import annotations

import asyncio
import types

import pytest

from service.api.uploaded import while_connected
from service.errors import ClientLeft
from service.http.leaving import offer
from service.telemetry import Instruments

pytestmark = pytest.mark.anyio


class Request:
    """One whose body was read, and whose client leaves when it is told to; the server may tell of that by itself."""

    def __init__(self, *, told: bool) -> None:
        self.scope = {}
        self.leaves = asyncio.Event()
        self.left = asyncio.get_running_loop().create_future()
        if told:
            offer(self.scope, self.left)
        self.instruments = Instruments()
        engine = types.SimpleNamespace(instruments=self.instruments)
        self.app = types.SimpleNamespace(state=types.SimpleNamespace(engine=engine))

    def leave(self) -> None:
        self.leaves.set()
        self.left.set_result(None)

    async def receive(self):
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    def abandoned(self) -> float:
        return self.instruments.abandoned._value.get()


@pytest.fixture(params=[False, True], ids=["asked", "told"])
def told(request):
    """Whether the server says by itself that the client has left."""
    return request.param


async def test_what_is_done_is_given(told):
    async def work():
        await asyncio.sleep(0)
        return 5

    request = Request(told=told)
    assert await while_connected(request, work()) == 5
    assert request.abandoned() == 0


async def test_work_ends_when_the_client_leaves(told):
    request, ended = Request(told=told), []

    async def work():
        try:
            request.leave()
            await asyncio.sleep(20)
        finally:
            ended.append(True)

    with pytest.raises(ClientLeft):
        await while_connected(request, work())
    assert ended == [True]
    assert request.abandoned() == 1
    await asyncio.sleep(0)  # nothing is left that would cancel what comes after
    assert asyncio.current_task().cancelling() == 0


@pytest.mark.parametrize("first", ["client", "work"])
async def test_a_client_that_leaves_as_the_work_ends_cancels_nothing_after_it(told, first):
    request, done = Request(told=told), asyncio.get_running_loop().create_future()

    def both():
        steps = [request.leave, lambda: done.set_result(5)]
        for step in steps if first == "client" else reversed(steps):
            step()

    async def work():
        return await done

    asyncio.get_running_loop().call_soon(both)
    try:
        assert await while_connected(request, work()) == 5
    except ClientLeft:
        assert first == "client"
    for _ in range(5):
        await asyncio.sleep(0)
    assert asyncio.current_task().cancelling() == 0


async def test_work_that_fails_fails_as_it_does(told):
    async def work():
        await asyncio.sleep(0)
        raise ValueError("of the work")

    with pytest.raises(ValueError, match="of the work"):
        await while_connected(Request(told=told), work())


async def test_who_cancels_the_request_is_not_taken_for_the_client(told):
    request = Request(told=told)

    async def work():
        request.leave()
        await asyncio.sleep(20)

    task = asyncio.ensure_future(while_connected(request, work()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_deadline_inside_is_one(told):
    async def work():
        async with asyncio.timeout(0.01):
            await asyncio.sleep(20)

    with pytest.raises(TimeoutError):
        await while_connected(Request(told=told), work())


async def test_one_request_can_do_two_things_one_after_the_other(told):
    request = Request(told=told)

    async def work():
        await asyncio.sleep(0)
        return 5

    assert [await while_connected(request, work()), await while_connected(request, work())] == [5, 5]
    request.leave()
    with pytest.raises(ClientLeft):
        await while_connected(request, asyncio.sleep(20))

"""What is written in one turn of the loop leaves together, and nothing is kept back for longer, or in great amounts."""

from __future__ import annotations

import asyncio

import pytest

from service.http.writes import AT_ONCE_BYTES, GatheredWrites

pytestmark = pytest.mark.anyio


class Wire:
    """Notes what reaches it."""

    def __init__(self):
        self.calls = []

    def writelines(self, parts):
        self.calls.append(list(parts))

    def close(self):
        self.calls.append("closed")


@pytest.fixture
def wire():
    return Wire()


async def gathered(wire):
    return GatheredWrites(wire, asyncio.get_running_loop())


async def test_the_parts_of_an_answer_leave_together(wire):
    transport = await gathered(wire)
    transport.write(b"head")
    transport.write(b"")
    transport.writelines([b"body", memoryview(b"more")])
    assert wire.calls == []
    await asyncio.sleep(0)
    assert wire.calls == [[b"head", b"body", b"more"]]
    await asyncio.sleep(0)
    assert len(wire.calls) == 1


async def test_much_leaves_at_once(wire):
    transport = await gathered(wire)
    much = bytes(AT_ONCE_BYTES)
    transport.write(b"head")
    transport.write(much)
    assert wire.calls == [[b"head", much]]
    await asyncio.sleep(0)
    assert len(wire.calls) == 1


async def test_a_close_comes_after_what_was_written(wire):
    transport = await gathered(wire)
    transport.write(b"last")
    transport.close()
    assert wire.calls == [[b"last"], "closed"]
    await asyncio.sleep(0)
    assert len(wire.calls) == 2


async def test_each_turn_has_its_own(wire):
    transport = await gathered(wire)
    for word in (b"one", b"two"):
        transport.write(word)
        await asyncio.sleep(0)
    assert wire.calls == [[b"one"], [b"two"]]


async def test_what_is_dropped_never_leaves(wire):
    transport = await gathered(wire)
    transport.write(b"late")
    transport.drop()
    await asyncio.sleep(0)
    transport.flush()
    assert wire.calls == []

"""The line before the threads; `test_executor.py` and `test_codecs.py` show it at work."""

from __future__ import annotations

import asyncio
import threading
import time
import weakref

import pytest

from service.turns import NEVER, Turn, Turns

pytestmark = pytest.mark.anyio


async def test_who_left_or_is_late_is_passed_over():
    told = []
    line = Turns(told.append)
    late, left, kept = Turn("late", time.monotonic() - 1), Turn("left", NEVER), Turn("kept", NEVER)
    for turn in (late, left, kept):
        line.add(turn)
    left.give_up()
    assert line.first() is kept
    assert (len(line), told[-1]) == (0, 0)


async def test_more_takes_the_first_that_fit_and_leaves_the_others_in_order():
    line = Turns()
    turns = [Turn(number, NEVER) for number in range(8)]
    for turn in turns:
        line.add(turn)
    asked = []
    taken = line.more(lambda number: number % 2 == 1, lambda count: asked.append(count) or 2)
    assert (asked, [turn.work for turn in taken]) == ([4], [1, 3])
    assert [line.first().work for _ in range(len(line))] == [0, 2, 4, 5, 6, 7]


@pytest.mark.parametrize("error", [ZeroDivisionError(), StopIteration()])
async def test_any_exception_reaches_the_caller(error):
    turn = Turn("work", time.monotonic() + 20)
    threading.Thread(target=turn.settle, args=(error,)).start()
    with pytest.raises((ZeroDivisionError, RuntimeError)):
        await turn.result()


async def test_after_the_end_whoever_waits_gets_none():
    line = Turns()
    waiting = asyncio.create_task(asyncio.to_thread(line.first))
    await asyncio.sleep(0.01)
    line.close()
    assert await waiting is None


def test_a_thread_that_waits_holds_on_to_nothing():
    """A work that another thread is to do, with its image, must not stay in memory because this one has seen it."""
    line = Turns()
    loop = asyncio.new_event_loop()

    class Load:
        pass

    load = Load()
    seen = weakref.ref(load)
    asked = threading.Event()

    def fits(_work):
        asked.set()
        return False

    thread = threading.Thread(target=line.first, args=(fits,), daemon=True)
    thread.start()
    line.add(Turn(load, NEVER, loop))
    assert asked.wait(20)
    (other,) = line.more(lambda _: True, lambda count: count)
    del load, other
    deadline = time.monotonic() + 20
    while seen() is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert seen() is None
    line.close()
    thread.join(20)
    loop.close()

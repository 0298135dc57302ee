"""A connection without a network: its transport, and what an event loop does for it."""

from __future__ import annotations

import asyncio

import uvicorn
from uvicorn.server import ServerState


class Wire:
    """A transport that keeps what is written, and tells whether the connection may read."""

    def __init__(self):
        self.written, self.closed, self.may_read = b"", False, True

    def get_extra_info(self, _name, default=None):
        return default

    def is_closing(self):
        return self.closed

    def write(self, data):
        self.written += data

    def writelines(self, parts):
        self.written += b"".join(parts)

    def close(self):
        self.closed = True

    def pause_reading(self):
        self.may_read = False

    def resume_reading(self):
        self.may_read = True


def connected(protocol, asgi):
    """A connection to an app, its wire, and the state of its server."""
    config = uvicorn.Config(asgi, lifespan="off", access_log=False, log_level="error")
    config.load()
    wire, state = Wire(), ServerState()
    made = protocol(config, state, {}, asyncio.get_running_loop())
    made.connection_made(wire)
    return made, wire, state


async def read(made, wire, piece):
    """Gives a connection what came, as an event loop does: when it may read, into its memory if it has some."""
    while piece:
        await settle(lambda: wire.may_read or wire.closed)
        if wire.closed:
            return
        if isinstance(made, asyncio.BufferedProtocol):
            memory = made.get_buffer(-1)
            count = min(len(memory), len(piece))
            memory[:count] = piece[:count]
            made.buffer_updated(count)
            memory.release()
            piece = piece[count:]
        else:
            made.data_received(piece)
            piece = b""


async def settle(condition):
    """Lets others go on until it is so, or nothing more will happen."""
    for _ in range(100):
        if condition():
            break
        await asyncio.sleep(0)

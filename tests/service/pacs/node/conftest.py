"""A node in an app without a network: series come by STOW-RS, and go to a peer that is a fake or a folder.

noding(rules=..., peer=..., others={name: peer}, <node setting>=...) -> async context with a `NodeClient`
kit.series(n, ...) -> name -> bytes of n instances of one series
"""

from __future__ import annotations

import asyncio
import io
import threading
import time
import types
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
import pydicom
import pytest

from service.jobs import jobs as jobs_module
from service.pacs import node as node_module
from service.pacs import outboxes
from service.pacs.commitment import CommitmentReport
from service.pacs.peers import PeerUnavailable, Said

PATIENCE = 20.0
TO_OUT = {"name": "all CT", "modality": "CT", "to": ["out"]}


class MovableClock:
    """The service's clock, which tests set forward."""

    def __init__(self, start):
        self.now = start

    def __call__(self):
        return self.now

    def forward(self, seconds):
        self.now += timedelta(seconds=seconds)


class LocalDurable:
    """Runs what is enqueued at once, and forgets it when the process ends. DBOS takes a second to begin, which only the
    tests of restarts spend."""

    def __init__(self, database):
        del database
        self._queues = {}
        self._places = {}
        self._runs = {}

    def add(self, name, queue):
        self._queues[name] = queue
        self._places[name] = asyncio.Semaphore(queue.at_once)

    async def start(self):
        """Nothing was left."""

    async def enqueue(self, queue, ticket):
        async def run():
            async with self._places[queue]:
                await self._queues[queue].run(ticket)

        if (queue, ticket) not in self._runs:
            self._runs[queue, ticket] = asyncio.create_task(run())

    async def fate(self, queue, ticket):
        task = self._runs.get((queue, ticket))
        return "unknown" if task is None else "over" if task.done() else "runs"

    async def forget(self, queue, ticket):
        self._runs.pop((queue, ticket), None)

    async def tidy(self, older_than):
        """Nothing is written down."""

    async def stop(self):
        for task in self._runs.values():
            task.cancel()
        await asyncio.gather(*self._runs.values(), return_exceptions=True)


@dataclass
class FakePeer:
    """Takes what it is sent, unless `refuse`, `later` or `broken` say otherwise; and tells what it has."""

    files: dict[str, bytes] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)
    broken: Exception | None = None
    refuse: set[int] = field(default_factory=set)
    later: set[int] = field(default_factory=set)
    lists_less: int = 0
    attempts: int = 0
    breaks_after: int | None = None
    asked_to_commit: list[str] = field(default_factory=list)
    commits: bool = False

    def echo(self):
        """Is there."""

    def send(self, files, told):
        self.attempts += 1
        for number, path in enumerate(files, start=1):
            if self.broken is not None:
                raise self.broken
            if self.breaks_after is not None and number > self.breaks_after:
                raise PeerUnavailable("it broke off")
            data = path.read_bytes()
            uid = str(pydicom.dcmread(io.BytesIO(data)).SOPInstanceUID)
            self.sent.append(uid)
            if number in self.refuse:
                told(path, Said("refused", "A900: it says no"))
            elif number in self.later:
                told(path, Said("later", "A700: it is full"))
            else:
                self.files[uid] = data
                told(path, Said("taken"))

    def instances(self, study, series):
        del study, series
        return frozenset(sorted(self.files)[self.lists_less :])

    def commit(self, instances, transaction):
        self.asked_to_commit.append(transaction)
        if not self.commits:
            return None
        return CommitmentReport(transaction, frozenset(uid for _, uid in instances), {})


@dataclass(frozen=True)
class NodeClient:
    """An app with a node: `client` calls it, `peer` is where derived series go."""

    client: Any
    peer: FakePeer
    clock: MovableClock

    @property
    def node(self):
        return self.client.app.state.pacs.node

    async def bring(self, files, *, headers=None):
        """The answer of STOW-RS."""
        boundary = b"a-boundary-that-no-file-has"
        body = b"".join(
            b"--" + boundary + b"\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n" for data in files
        )
        kind = f'multipart/related; type="application/dicom"; boundary={boundary.decode()}'
        return await self.client.http.post(
            "/dicom-web/studies",
            content=body + b"--" + boundary + b"--\r\n",
            headers={"Content-Type": kind, **(headers or {})},
        )

    async def series(self):
        """What is told of all series, the newest first."""
        return (await self.client.http.get("/v1/pacs/series")).json()["series"]

    async def counts(self):
        """Where every instance is."""
        return (await self.client.http.get("/v1/pacs")).json()["instances"]

    async def ended(self, count=1):
        """What is told of all series when so many have ended, and none is left."""

        def over(found):
            return len(found) >= count and all("finished" in each for each in found)

        end = time.monotonic() + PATIENCE
        found = []
        while time.monotonic() < end:
            found = await self.series()
            if over(found) and not self.node.arrivals.arriving():
                return found
            await asyncio.sleep(0.01)
        raise AssertionError(f"they never ended: {found}")

    async def until(self, condition):
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, "it never happened"
            await asyncio.sleep(0.01)

    async def waiting(self, text):
        """When the delivery of the only series waits for such a reason."""
        end = time.monotonic() + PATIENCE
        found = []
        while time.monotonic() < end:
            found = await self.series()
            if found and found[0]["deliveries"] and text in found[0]["deliveries"][0].get("reason", ""):
                return found[0]
            await asyncio.sleep(0.01)
        raise AssertionError(f"it never waited: {found}")

    async def failed(self, times):
        """When the only delivery has failed so often, and it is written down when it is due again."""
        (live,) = self.node.jobs()
        (delivery,) = live.deliveries.values()
        await self.until(lambda: live.deliveries[delivery.peer].attempts == times)

    def derived(self):
        """The data sets that the peer has."""
        return [pydicom.dcmread(io.BytesIO(data)) for data in self.peer.files.values()]


@pytest.fixture
def spool(tmp_path):
    return tmp_path / "spool"


def _toml(value):
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value).replace("'", '"')


def _table(values):
    return "".join(f"{key} = {_toml(value)}\n" for key, value in values.items())


@pytest.fixture
def noding(serve, spool, tmp_path, monkeypatch):
    """See above; `peer` may be one that was there before."""
    monkeypatch.setattr(node_module, "SWEEP_SECONDS", 0.02)
    monkeypatch.setattr(jobs_module, "Durable", LocalDurable)

    @asynccontextmanager
    async def start(*, rules=(TO_OUT,), out=None, peer=None, others=None, clock=None, settings=None, **node):
        peer = FakePeer() if peer is None else peer
        peers = {"out": peer, **(others or {})}
        monkeypatch.setattr(outboxes, "client_of", lambda name, _: peers[name])
        monkeypatch.setattr(outboxes, "asker_of", lambda name, _: peers[name].instances)
        monkeypatch.setattr(node_module, "asker_of", lambda *_: peer.instances)
        clock = clock or MovableClock(_now())
        written = "[node]\n" + _table({"quiet_seconds": 0.05, "reserve": 0, **node})
        for name in peers:
            written += f"\n[peers.{name}]\n" + _table(out or {"url": "http://127.0.0.1:9", "verify": "none"})
        written += "".join("\n[[rules]]\n" + _table(rule) for rule in rules)
        place = tmp_path / "pacs.toml"
        place.write_text(written, encoding="utf-8")
        async with serve(spool=spool, spool_reserve=0, pacs=place, clock=clock, **(settings or {})) as client:
            yield NodeClient(client, peer, clock)

    return start


def _now():
    from datetime import UTC, datetime  # noqa: PLC0415

    return datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def series_maker(ct_slice):
    """(n, first=1, stored=..., Keyword=value) -> bytes of n instances of one series."""

    def make(count, *, first=1, stored=None, series="1.2.3.4", **attributes):
        files = []
        for number in range(first, first + count):
            pixels = None if stored is None else stored(number)
            if pixels is None:
                pixels = np.random.default_rng(number).integers(-200, 1500, (12, 16)).astype(np.int16)
            files.append(
                ct_slice(
                    pixels,
                    **{
                        "SeriesInstanceUID": series,
                        "SOPInstanceUID": f"{series}.{number}",
                        "InstanceNumber": str(number),
                        "ImagePositionPatient": ["-100", "-100", str(5 * number)],
                        **attributes,
                    },
                )
            )
        return files

    return make


def gated(passes):
    """What was seen, a gate, and an answer that passes a number of images and waits at the next."""
    seen = []
    gate = threading.Event()

    def answer(batch):
        seen.append(batch)
        if len(seen) > passes:
            gate.wait(20)
        return batch

    return seen, gate, answer


@pytest.fixture(scope="session")
def kit(ct_slice):
    """What tests of the node do again and again; see the functions of this file."""
    return types.SimpleNamespace(
        series=series_maker(ct_slice), gated=gated, peer=FakePeer, clock=MovableClock, now=_now, to_out=TO_OUT
    )

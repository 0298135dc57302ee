"""The node and its DIMSE receiver, as parts of the service.

load --> durable engine starts --> start: receiver --> ... --> stop_receiving --> durable engine stops --> stop
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

from service.engine import Engine
from service.errors import TooBusy, UnsafeConfiguration
from service.jobs.durable import Durable
from service.pacs.audit.facts import Party
from service.pacs.audit.trail import open_trail
from service.pacs.configuration import Configuration
from service.pacs.descriptors import raise_descriptor_limit
from service.pacs.node import PacsNode
from service.pacs.receiver import Receiver
from service.pacs.visit import Visit
from service.telemetry import Instruments

BUSY_RETRY_SECONDS = 10


class PacsService:
    """What `create_app` starts and stops.

    Args:
        configuration, spool, engine, durable, instruments: as of `PacsNode`.

    Raises:
        UnsafeConfiguration: the spool cannot be used.
    """

    def __init__(
        self, configuration: Configuration, spool: Path, *, engine: Engine, durable: Durable, instruments: Instruments
    ) -> None:
        self.trail = open_trail(configuration.audit, configuration.node.aet)
        try:
            self.node = PacsNode(
                configuration, spool, engine=engine, durable=durable, instruments=instruments, trail=self.trail
            )
        except OSError as error:
            raise UnsafeConfiguration(f"the PACS node cannot use {spool}: {error.strerror}") from None
        self._visits = 0
        self.receiver: Receiver | None = None
        if configuration.node.port is not None and not configuration.node.apart:
            self.receiver = Receiver(
                self.node.arrivals, configuration, engine.settings, trail=self.trail, told=self.node.count_arrival
            )

    @contextlib.contextmanager
    def visit(self, sender: str, address: str) -> Iterator[Visit]:
        """Somebody who brings instances by DICOMweb.

        Args:
            sender: name of its key.
            address: from where it calls.

        Raises:
            TooBusy: as many as may, bring some already.
        """
        most = self.node.configuration.node.associations
        if self._visits >= most:
            raise TooBusy(f"{most} senders bring instances already; try again later", retry_after=BUSY_RETRY_SECONDS)
        self._visits += 1
        visit = Visit(self.node.arrivals, sender, told=self.node.count_arrival)
        try:
            yield visit
        finally:
            self._visits -= 1
            visit.leave(self.trail, Party(user=sender, host=address))

    async def load(self) -> None:
        """Before the durable engine starts."""
        await self.node.load()

    async def start(self) -> None:
        """Begins to listen.

        Raises:
            UnsafeConfiguration: the address cannot be bound, or a certificate not be read.
        """
        raise_descriptor_limit()
        self.trail.started()
        if self.receiver is not None:
            try:
                await asyncio.to_thread(self.receiver.start)
            except OSError as error:
                node = self.node.configuration.node
                raise UnsafeConfiguration(
                    f"the node cannot listen on {node.host}:{node.port}: {error.strerror or error}"
                ) from None

    async def stop_receiving(self) -> None:
        """Nothing comes in or begins to go out any more; what was not acknowledged will be sent again."""
        self.node.begin_stop()
        if self.receiver is not None:
            await asyncio.to_thread(self.receiver.stop)

    async def stop(self) -> None:
        """After the durable engine has stopped."""
        await self.node.stop()
        self.trail.stopped()
        await asyncio.to_thread(self.trail.close)

"""An outbox for each peer that something can be sent to.

configuration --outboxes_of--> name -> Outbox
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from datetime import datetime
from pathlib import Path

from service.pacs.audit.trail import Trail
from service.pacs.configuration import Configuration
from service.pacs.outbox import Outbox
from service.pacs.outgoing import Preparation
from service.pacs.peers.asking import asker_of
from service.pacs.peers.clients import client_of
from service.pacs.secrets import node_secret


def reachable(configuration: Configuration) -> list[str]:
    """Names of the peers that something can be sent to; the others only call."""
    return [name for name, peer in configuration.peers.items() if peer.kind != "dimse" or peer.port is not None]


def outboxes_of(
    configuration: Configuration, folder: Path, *, clock: Callable[[], datetime], trail: Trail, threads: Executor
) -> dict[str, Outbox]:
    """Name of a peer -> its outbox, of those that are `reachable`.

    Args:
        configuration: of the node.
        folder: `pacs/` in the spool.
        clock, trail, threads: as of `Outbox`.
    """
    found = {}
    for name in reachable(configuration):
        peer = configuration.peers[name]
        secret = node_secret(folder) if peer.deidentify else None
        found[name] = Outbox(
            name,
            peer,
            client=client_of(name, configuration),
            ask=asker_of(name, configuration),
            preparation=Preparation(peer.compress, secret),
            clock=clock,
            trail=trail,
            threads=threads,
        )
    return found

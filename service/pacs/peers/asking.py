"""Asking a peer which instances of a series it has.

name --asker_of--> (study, series) -> SOPInstanceUIDs     PeerUnavailable PeerRefused
"""

from __future__ import annotations

from collections.abc import Callable

from service.pacs.configuration import Configuration
from service.pacs.peers.dicomweb import WebPeer

Asker = Callable[[str, str], frozenset[str]]
"""Study and series -> SOPInstanceUIDs; blocking, raises PeerError."""


def asker_of(name: str, configuration: Configuration) -> Asker | None:
    """How it is found out what a peer has: of the DICOMweb peer that it names, or that it is; None: not at all."""
    asked = configuration.peers[name].ask or name
    peer = configuration.peers[asked]
    return WebPeer(asked, peer).instances if peer.kind == "dicomweb" else None

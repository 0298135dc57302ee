"""The client of a peer, by how it is reached.

name, Configuration --client_of--> DimsePeer, WebPeer or FolderPeer
                      PeerRefused
"""

from __future__ import annotations

from service.pacs.configuration import Configuration
from service.pacs.peers import PeerClient, PeerRefused
from service.pacs.peers.dicomweb import WebPeer
from service.pacs.peers.dimse import DimsePeer
from service.pacs.peers.folder import FolderPeer


def client_of(name: str, configuration: Configuration) -> PeerClient:
    """The client of a peer.

    Raises:
        PeerRefused: the configuration knows no such peer (any more), or no port of it to send to.
    """
    peer = configuration.peers.get(name)
    if peer is None:
        raise PeerRefused(f"the configuration has no peer {name!r}")
    if peer.kind == "dicomweb":
        return WebPeer(name, peer)
    if peer.kind == "folder":
        return FolderPeer(name, peer)
    if peer.host is None or peer.port is None:
        raise PeerRefused(f"peer {name!r} has no host and port to send to")
    return DimsePeer(name, peer, configuration.node)

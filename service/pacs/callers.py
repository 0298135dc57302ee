"""Who may call: AE titles together with the addresses that they call from.

    connection --(any peer's address?)--> association --(AE title and address of one peer?)--> peer
                 closed                                rejected: calling AE title not recognised

Names of hosts are looked up now and then, so that a peer may move; one that stands for nothing any more, for what it
did before.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from service.pacs.configuration import Configuration, Peer

LOOKUP_SECONDS = 60.0
"""For which the addresses of a name are believed."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass
class _Looked:
    at: float
    found: frozenset[Network]


def addresses_of(host: str) -> frozenset[Network]:
    """The networks of one address each that a name or address stands for; none where it stands for nothing."""
    try:
        return frozenset({ipaddress.ip_network(host)})
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return frozenset()
    return frozenset(ipaddress.ip_network(str(each[4][0]).partition("%")[0]) for each in found)


class Callers:
    """The allow list of a node.

    Args:
        configuration: of the node.
        lookup: from the name of a host to its addresses.
        clock: seconds.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        lookup: Callable[[str], frozenset[Network]] = addresses_of,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._any = configuration.node.any_caller
        self._peers: Mapping[str, Peer] = {
            name: peer for name, peer in configuration.peers.items() if peer.may_send and peer.aet is not None
        }
        self._lookup = lookup
        self._clock = clock
        self._looked: dict[str, _Looked] = {}
        self._lock = threading.Lock()

    def may_connect(self, address: str) -> bool:
        """Whether anybody may call from an address."""
        return self._any or any(self._calls_from(peer, address) for peer in self._peers.values())

    def may_call(self, aet: str, address: str) -> bool:
        """Whether the holder of an AE title may call from an address."""
        return self._any or any(
            peer.aet == aet.strip() and self._calls_from(peer, address) for peer in self._peers.values()
        )

    def _calls_from(self, peer: Peer, address: str) -> bool:
        try:
            calling = _plain(ipaddress.ip_address(address.partition("%")[0]))
        except ValueError:
            return False
        networks = (
            [ipaddress.ip_network(each, strict=False) for each in peer.addresses]
            if peer.addresses
            else self._addresses(peer.host or "")
        )
        return any(calling in network for network in networks)

    def _addresses(self, host: str) -> frozenset[Network]:
        with self._lock:
            known = self._looked.get(host)
        if known is not None and self._clock() - known.at < LOOKUP_SECONDS:
            return known.found
        found = self._lookup(host)
        if not found and known is not None:
            found = known.found  # name servers fail now and then, and senders take a refusal for good
        with self._lock:
            self._looked[host] = _Looked(self._clock(), found)
        return found


def _plain(address: Address) -> Address:
    """An IPv4 address that came in the clothes of IPv6 (::ffff:10.1.2.3)."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address

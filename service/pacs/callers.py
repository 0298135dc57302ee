"""Who may call: AE titles together with the addresses that they call from.

    connection --(any peer's address?)--> association --(AE title and address of one peer?)--> peer --(may_send?)-->
                 closed                                rejected: calling AE title not recognised      C-STORE: 0124

Peers call to send, or to say what they keep of what they were sent (storage commitment). Names of hosts are looked up
now and then, so that a peer may move; one that stands for nothing any more, for what it did before. They are looked up
when an association is asked for, on its own thread: at the connection, where one slow name server would keep everybody
out, a name that is not known just then is given the benefit of the doubt.
"""

from __future__ import annotations

import contextlib
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
    with contextlib.suppress(ValueError):
        return frozenset({ipaddress.ip_network(host)})
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
            name: peer
            for name, peer in configuration.peers.items()
            if peer.aet is not None and (peer.may_send or peer.verification == "commitment")
        }
        self._lookup = lookup
        self._clock = clock
        self._looked: dict[str, _Looked] = {}
        self._lock = threading.Lock()

    def may_connect(self, address: str) -> bool:
        """Whether anybody may call from an address, as far as that is known without asking a name server."""
        return self._any or any(_is_of(self._known_networks(peer), address) for peer in self._peers.values())

    def may_call(self, aet: str, address: str) -> bool:
        """Whether the holder of an AE title may call from an address; waits for name servers."""
        return self._any or any(_is_of(self._networks(peer), address) for peer in self._holders(aet))

    def may_send(self, aet: str, address: str) -> bool:
        """Whether such a caller may send instances, too; waits for name servers."""
        senders = (peer for peer in self._holders(aet) if peer.may_send)
        return self._any or any(_is_of(self._networks(peer), address) for peer in senders)

    def _holders(self, aet: str) -> list[Peer]:
        return [peer for peer in self._peers.values() if peer.aet == aet.strip()]

    def _networks(self, peer: Peer) -> frozenset[Network]:
        known = self._known_networks(peer)
        return self._look_up(peer.host or "") if known is None else known

    def _known_networks(self, peer: Peer) -> frozenset[Network] | None:
        """From where a peer calls; None: its name has to be looked up."""
        if peer.addresses:
            return frozenset(ipaddress.ip_network(each, strict=False) for each in peer.addresses)
        with contextlib.suppress(ValueError):
            return frozenset({ipaddress.ip_network(peer.host or "")})
        with self._lock:
            known = self._looked.get(peer.host or "")
        return known.found if known is not None and self._clock() - known.at < LOOKUP_SECONDS else None

    def _look_up(self, host: str) -> frozenset[Network]:
        found = self._lookup(host)
        with self._lock:
            if not found and host in self._looked:
                found = self._looked[host].found  # name servers fail now and then, and senders take a refusal for good
            self._looked[host] = _Looked(self._clock(), found)
        return found


def _is_of(networks: frozenset[Network] | None, address: str) -> bool:
    """Whether an address is in one of the networks; of networks that are not known (None), any may be."""
    try:
        calling = _plain(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError:
        return False
    return networks is None or any(calling in network for network in networks)


def _plain(address: Address) -> Address:
    """An IPv4 address that came in the clothes of IPv6 (::ffff:10.1.2.3)."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address

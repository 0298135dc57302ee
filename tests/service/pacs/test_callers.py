"""Who may call: a title belongs to addresses, and names are looked up again."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass, field

import pytest

from service.pacs.callers import LOOKUP_SECONDS, Callers, addresses_of
from service.pacs.configuration import Configuration, Node, Peer


@dataclass
class FakeNames:
    """A name server that can be told what it knows, and tells what it was asked."""

    known: dict[str, set[str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def __call__(self, host):
        self.asked.append(host)
        return frozenset(ipaddress.ip_network(address) for address in self.known.get(host, ()))


class FakeClock:
    now = 0.0

    def __call__(self):
        return self.now


def callers(*, names=None, clock=None, node=None, **peers):
    configuration = Configuration(node=node or Node(), peers={name: Peer(**peer) for name, peer in peers.items()})
    return Callers(configuration, lookup=names or addresses_of, clock=clock or FakeClock())


CT = {"aet": "CT01", "host": "10.1.2.3", "may_send": True}
MR = {"aet": "MR01", "addresses": ["10.2.0.0/16", "fd00::/8"], "may_send": True}


@pytest.mark.parametrize(
    ("aet", "address", "may"),
    [
        ("CT01", "10.1.2.3", True),
        (" CT01 ", "10.1.2.3", True),
        ("CT01", "::ffff:10.1.2.3", True),
        ("CT01", "10.1.2.4", False),
        ("CT01", "10.2.9.9", False),  # of another peer
        ("ct01", "10.1.2.3", False),
        ("", "10.1.2.3", False),
        ("MR01", "10.2.255.1", True),
        ("MR01", "10.3.0.1", False),
        ("MR01", "fd12::1", True),
        ("MR01", "fd12::1%eth0", True),
        ("MR01", "fe80::1", False),
        ("MR01", "no address", False),
    ],
)
def test_title_and_address_belong_together(aet, address, may):
    assert callers(ct=CT, mr=MR).may_call(aet, address) is may


@pytest.mark.parametrize(
    ("address", "may"),
    [("10.1.2.3", True), ("::ffff:10.2.0.1", True), ("10.3.0.1", False), ("127.0.0.1", False), ("", False)],
)
def test_only_from_addresses_of_senders_anybody_may_connect(address, may):
    assert callers(ct=CT, mr=MR).may_connect(address) is may


def test_who_may_not_send_may_not_call():
    known = callers(archive={"aet": "ARCHIVE", "host": "10.1.2.3", "port": 104})
    assert not known.may_connect("10.1.2.3")
    assert not known.may_call("ARCHIVE", "10.1.2.3")


def test_who_reports_what_it_keeps_may_call_and_not_send():
    reports = {"aet": "ARCHIVE", "host": "10.1.2.3", "port": 104, "verify": "commitment"}
    known = callers(node=Node(port=11112), archive=reports, ct={**CT, "host": "10.1.2.4"})
    assert known.may_connect("10.1.2.3")
    assert known.may_call("ARCHIVE", "10.1.2.3")
    assert not known.may_call("ARCHIVE", "10.1.2.4")
    assert not known.may_send("ARCHIVE", "10.1.2.3")
    assert not known.may_send("CT01", "10.1.2.3")
    assert known.may_send("CT01", "10.1.2.4")
    moved = callers(node=Node(port=11112), archive={**reports, "addresses": "10.9.0.0/16"})
    assert moved.may_call("ARCHIVE", "10.9.1.1")
    assert not moved.may_call("ARCHIVE", "10.1.2.3")


def test_any_caller():
    known = callers(node=Node(any_caller=True))
    assert known.may_send("ANYBODY", "127.0.0.1")
    assert known.may_connect("127.0.0.1")
    assert known.may_call("ANYBODY", "127.0.0.1")


def test_a_name_is_looked_up_again_and_its_peer_may_move():
    names, clock = FakeNames({"ct.example": {"10.0.0.1"}}), FakeClock()
    known = callers(names=names, clock=clock, ct={**CT, "host": "ct.example"})
    assert known.may_call("CT01", "10.0.0.1")
    names.known = {"ct.example": {"10.0.0.2", "fd00::2"}}
    clock.now = LOOKUP_SECONDS - 1
    assert known.may_call("CT01", "10.0.0.1")
    assert not known.may_call("CT01", "10.0.0.2")
    assert names.asked == ["ct.example"]
    clock.now = LOOKUP_SECONDS
    assert known.may_call("CT01", "10.0.0.2")
    assert known.may_call("CT01", "fd00::2")
    assert not known.may_call("CT01", "10.0.0.1")
    assert names.asked == ["ct.example"] * 2


def test_a_name_server_that_fails_shuts_nobody_out():
    names, clock = FakeNames({"ct.example": {"10.0.0.1"}}), FakeClock()
    known = callers(names=names, clock=clock, ct={**CT, "host": "ct.example"})
    assert known.may_call("CT01", "10.0.0.1")
    names.known, clock.now = {}, LOOKUP_SECONDS
    assert known.may_call("CT01", "10.0.0.1")
    assert not known.may_call("CT01", "10.0.0.2")


def test_a_name_that_was_never_known_lets_nobody_in():
    known = callers(names=FakeNames(), ct={**CT, "host": "ct.example"})
    assert not known.may_call("CT01", "10.0.0.1")
    assert not known.may_connect("10.0.0.1")


def test_a_connection_waits_for_no_name_server():
    names, clock = FakeNames({"ct.example": {"10.0.0.1"}}), FakeClock()
    known = callers(names=names, clock=clock, ct={**CT, "host": "ct.example"})
    assert known.may_connect("10.0.0.9"), "who it is, is decided when it says so"
    assert not known.may_connect("no address")
    assert names.asked == []
    assert not known.may_call("CT01", "10.0.0.9")
    assert not known.may_connect("10.0.0.9")
    assert known.may_connect("10.0.0.1")
    names.known, clock.now = {"ct.example": {"10.0.0.9"}}, LOOKUP_SECONDS
    assert known.may_connect("10.0.0.9"), "it may have moved"
    assert names.asked == ["ct.example"]
    assert known.may_call("CT01", "10.0.0.9")


def test_given_addresses_count_and_not_the_host():
    names = FakeNames({"ct.example": {"10.0.0.1"}})
    known = callers(names=names, ct={**CT, "host": "ct.example", "addresses": "10.9.9.9"})
    assert known.may_call("CT01", "10.9.9.9")
    assert not known.may_call("CT01", "10.0.0.1")
    assert names.asked == []


def test_addresses_of_hosts(monkeypatch):
    def answer(host, *_, **__):
        if host != "ct.example":
            raise socket.gaierror
        v6 = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1%eth0", 0, 0, 2))
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 0)), v6]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    assert addresses_of("10.1.2.3") == {ipaddress.ip_network("10.1.2.3/32")}
    assert addresses_of("ct.example") == {ipaddress.ip_network("10.0.0.1/32"), ipaddress.ip_network("fe80::1/128")}
    assert addresses_of("gone.example") == frozenset()

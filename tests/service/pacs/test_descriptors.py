"""More associations than the usual number of open files allows: the limit is raised, and high numbers do no harm."""

from __future__ import annotations

import fcntl
import resource
import socket
import types

import pytest

from service.pacs import descriptors
from service.pacs.descriptors import raise_descriptor_limit

SELECT_KNOWS = 1024


@pytest.fixture
def limit():
    """Hard and soft limit, which are as before afterwards."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_soft_limit_becomes_the_hard_one_when_the_receiver_starts(limit, door, receiving):
    _, hard = limit
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    with receiving(door()):
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)


@pytest.mark.parametrize("error", [ValueError, PermissionError])
def test_a_limit_that_cannot_be_raised_stays(monkeypatch, error):
    def refuse(*_):
        raise error

    system = types.SimpleNamespace(RLIMIT_NOFILE=7, getrlimit=lambda _: (1024, -1), setrlimit=refuse)
    monkeypatch.setattr(descriptors, "resource", system)
    raise_descriptor_limit()


@pytest.mark.usefixtures("limit")
def test_an_association_whose_connection_has_a_high_number(door, receiving, scu, ct_slice):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard <= SELECT_KNOWS:
        pytest.skip(f"this process may open {hard} files only")
    node = door()
    with receiving(node) as receiver:
        accept = receiver._server.get_request

        def high():
            connection, address = accept()
            with connection:
                number = fcntl.fcntl(connection, fcntl.F_DUPFD_CLOEXEC, SELECT_KNOWS)
            return socket.socket(fileno=number), address

        receiver._server.get_request = high
        with scu.calling(receiver.port) as association:
            assert scu.store(association, scu.data_set_of(ct_slice())) == (0x0000, None)
    assert node.sources() == ["1.2.3.4.5"]

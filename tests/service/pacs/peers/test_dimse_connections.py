"""DIMSE peers that do not let us in, do not answer, break off, or are not who they should be."""

from __future__ import annotations

import socket
import threading

import pytest
from pynetdicom import build_context, evt

from service.pacs.parts import Tls
from service.pacs.peers import PeerRefused, PeerUnavailable
from service.pacs.peers.association import associated


def test_an_unknown_calling_title_is_refused_for_good(dimse, slices, told):
    archive = dimse.Archive()
    archive.entity.require_calling_aet = ["SOMEBODY"]
    with archive.running() as peer:
        with pytest.raises(PeerRefused) as error:
            peer.send(slices(1), told)
        with pytest.raises(PeerRefused, match="Calling AE title not recognised"):
            peer.echo()
    expected = "peer 'archive' (ARCHIVE) rejects associations of CLEARSLICE: Calling AE title not recognised"
    assert str(error.value) == expected
    assert not told


def test_an_unknown_called_title_is_refused_for_good(dimse):
    archive = dimse.Archive()
    archive.entity.require_called_aet = True
    with archive.running(aet="OTHER") as peer, pytest.raises(PeerRefused, match="Called AE title not recognised"):
        peer.echo()


def test_too_many_associations_are_a_matter_of_time(dimse):
    archive = dimse.Archive()
    archive.entity.maximum_associations = 1
    with archive.running() as peer:
        held = associated("archive", peer._peer, peer._node, [build_context(dimse.VERIFICATION)])
        with held, pytest.raises(PeerUnavailable, match="rejects associations of CLEARSLICE: Local limit exceeded"):
            peer.echo()


def test_nobody_listens(dimse, slices, told):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(PeerUnavailable, match="cannot be reached"):
        dimse.client(port).send(slices(1), told)


def test_an_unknown_host(dimse):
    with pytest.raises(PeerUnavailable, match="cannot be reached"):
        dimse.client(1, host="peer.invalid").echo()


def test_a_peer_that_never_answers_the_association(dimse):
    silent = dimse.raw_peer(lambda _, over: over.wait(dimse.PATIENCE))
    with silent as port, pytest.raises(PeerUnavailable, match=r"did not answer within 1 s, while .* negotiated"):
        dimse.client(port, timeout_seconds=dimse.SHORT).echo()


def test_a_peer_that_speaks_something_else(dimse):
    def talk(connection, _):
        dimse.read_pdu(connection)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

    with dimse.raw_peer(talk) as port, pytest.raises(PeerUnavailable, match="while the association was negotiated"):
        dimse.client(port, timeout_seconds=dimse.SHORT).echo()


def test_a_peer_that_never_answers_a_store(dimse, slices, told):
    over = threading.Event()

    def status(_):
        over.wait(dimse.PATIENCE)
        return 0x0000

    archive = dimse.Archive()
    archive.status = status
    with archive.running(timeout_seconds=dimse.SHORT) as peer:
        with pytest.raises(PeerUnavailable, match=r"did not answer within 1 s, at the first C-STORE"):
            peer.send(slices(2), told)
        over.set()
    assert not told


def test_a_peer_that_stops_reading_does_not_hold_us_forever(dimse, slices, told):
    def talk(connection, over):
        dimse.accept_association(connection)
        over.wait(dimse.PATIENCE)

    # more than the buffers of two sockets hold
    files = slices(1, shape=(3000, 3000))
    with dimse.raw_peer(talk) as port, pytest.raises(PeerUnavailable, match="at the first C-STORE"):
        dimse.client(port, timeout_seconds=dimse.SHORT).send(files, told)
    assert not told


def test_a_peer_that_is_cut_off_in_the_middle(dimse, slices, told):
    def talk(connection, _):
        dimse.accept_association(connection)
        dimse.read_pdu(connection)

    with dimse.raw_peer(talk) as port, pytest.raises(PeerUnavailable, match="broke off"):
        dimse.client(port).send(slices(2), told)


def test_an_abort_at_the_first_instance_hints_at_our_title(dimse, slices, told):
    archive = dimse.Archive()
    archive.status = lambda event: event.assoc.abort()
    with archive.running() as peer, pytest.raises(PeerUnavailable) as error:
        peer.send(slices(2), told)
    assert str(error.value) == (
        "peer 'archive' aborted the association at the first C-STORE; it may not know our AE title CLEARSLICE, or not"
        " let it store"
    )
    assert not told


def test_an_abort_in_the_middle_leaves_what_was_told(dimse, slices, told):
    archive = dimse.Archive()
    archive.status = lambda event: event.assoc.abort() if len(archive.received) == 3 else 0x0000
    with archive.running() as peer, pytest.raises(PeerUnavailable) as error:
        peer.send(slices(5), told)
    assert str(error.value) == "peer 'archive' aborted the association at C-STORE"
    assert told.verdicts == ["taken", "taken"]


def test_what_the_callback_raises_ends_the_association_in_order(dimse, slices):
    def fail(*_):
        raise OSError("the record cannot be written")

    released = threading.Event()
    archive = dimse.Archive()
    archive.handlers = [(evt.EVT_RELEASED, lambda _: released.set())]
    with archive.running() as peer:
        with pytest.raises(OSError, match="the record cannot be written"):
            peer.send(slices(2), fail)
        assert released.wait(dimse.PATIENCE)


def test_tls_with_certificates_on_both_sides(dimse, slices, told, certificates):
    archive = dimse.Archive()
    archive.tls = dimse.server_tls(certificates, mutual=True)
    ours = Tls(certificate=certificates.certificate, key=certificates.key, authority=certificates.authority)
    files = slices(3)
    with archive.running(tls=ours) as peer:
        peer.send(files, told)
    assert told.verdicts == ["taken"] * 3
    assert [data for _, data, _ in archive.received] == [dimse.data_set(path.read_bytes()) for path in files]


@pytest.mark.parametrize("authority", ["other", None])
def test_tls_of_an_authority_that_is_not_trusted(dimse, slices, told, certificates, authority):
    archive = dimse.Archive()
    archive.tls = dimse.server_tls(certificates)
    trusted = Tls(authority=getattr(certificates, authority) if authority else None)
    with (
        archive.running(tls=trusted) as peer,
        pytest.raises(PeerUnavailable, match="no TLS connection: its certificate is not accepted: unable to get"),
    ):
        peer.send(slices(1), told)
    assert not archive.received


def test_tls_of_another_host(dimse, certificates):
    archive = dimse.Archive()
    archive.tls = dimse.server_tls(certificates)
    with (
        archive.running(tls=Tls(authority=certificates.authority), host="localhost") as peer,
        pytest.raises(PeerUnavailable, match="no TLS connection: its certificate is not accepted: Hostname mismatch"),
    ):
        peer.echo()


def test_tls_where_the_peer_wants_a_certificate_of_ours(dimse, certificates):
    archive = dimse.Archive()
    archive.tls = dimse.server_tls(certificates, mutual=True)
    with (
        archive.running(tls=Tls(authority=certificates.authority)) as peer,
        pytest.raises(PeerUnavailable, match="it may want another certificate of ours"),
    ):
        peer.echo()


def test_tls_to_a_peer_without(dimse, certificates):
    def talk(connection, _):
        connection.recv(4096)
        connection.sendall(b"\x07\0\0\0\0\x04\0\0\2\0")  # an abort, as a service without TLS answers

    with dimse.raw_peer(talk) as port, pytest.raises(PeerUnavailable, match="no TLS connection: wrong version number"):
        dimse.client(port, tls=Tls(authority=certificates.authority)).echo()


@pytest.mark.parametrize("key", ["locked", "authority"])
def test_certificates_that_cannot_be_used(dimse, certificates, key):
    ours = Tls(certificate=certificates.certificate, key=getattr(certificates, key))
    with pytest.raises(PeerUnavailable, match="the files of its tls cannot be used"):
        dimse.client(1, tls=ours).echo()

"""Receiving over TLS: with certificates, of both sides if that is wanted, and without waiting for the silent."""

from __future__ import annotations

import contextlib
import socket
import ssl
import types

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import build_context
from pynetdicom.sop_class import Verification

from service.pacs.association_server import GuardedServer

CONTEXTS = [build_context(CTImageStorage, ExplicitVRLittleEndian), build_context(Verification)]


@pytest.fixture(scope="module")
def certificates(authority, tmp_path_factory):
    """`ours`, `certificate`, `key`: an authority, and what it signed for 127.0.0.1; `other...`: of a stranger."""
    folder = tmp_path_factory.mktemp("tls")
    files = {}
    for name in ("", "other_"):
        made = authority(f"{name}authority")
        certificate, key = made.sign("127.0.0.1")
        files |= {f"{name}authority": made.pem, f"{name}certificate": certificate, f"{name}key": key}
    for name, data in files.items():
        (folder / f"{name}.pem").write_bytes(data)
    return types.SimpleNamespace(**{name: folder / f"{name}.pem" for name in files})


@pytest.fixture
def kit(scu, ct_slice, receiving, door, certificates):
    """kit.node(mutual=...) -> a door with TLS; kit.context(own) -> what a client needs."""

    def node(*, mutual=False, **changes):
        tls = {"certificate": str(certificates.certificate), "key": str(certificates.key)}
        if mutual:
            tls["authority"] = str(certificates.authority)
        return door(node={"tls": tls, **changes})

    def context(own=None):
        made = ssl.create_default_context(cafile=certificates.authority)
        if own is not None:
            made.load_cert_chain(getattr(certificates, f"{own}certificate"), getattr(certificates, f"{own}key"))
        return made

    return types.SimpleNamespace(**vars(scu), file=ct_slice, receiving=receiving, node=node, context=context)


def call(kit, port, context):
    return kit.calling(port, contexts=CONTEXTS, tls_args=(context, "127.0.0.1"))


@pytest.mark.parametrize(("mutual", "own"), [(False, None), (True, "")])
def test_instances_come_encrypted(kit, mutual, own):
    node = kit.node(mutual=mutual)
    sent = kit.data_set_of(kit.file(ImageComments="x" * 9000))
    with kit.receiving(node) as receiver, call(kit, receiver.port, kit.context(own)) as association:
        assert kit.store(association, sent) == (0x0000, None)
        assert association.send_c_echo().Status == 0x0000
    assert kit.data_set_of(node.source("1.2.3.4.5")) == sent


@pytest.mark.parametrize("own", [None, "other_"])
def test_without_a_certificate_of_the_right_authority_nobody_is_let_in(kit, own):
    with kit.receiving(kit.node(mutual=True)) as receiver:
        with call(kit, receiver.port, kit.context(own)) as association:
            assert not association.is_established
        with call(kit, receiver.port, kit.context("")) as association:
            assert association.is_established


def test_old_tls_and_no_tls_are_not_spoken(kit):
    with kit.receiving(kit.node()) as receiver:
        old = kit.context()
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with call(kit, receiver.port, old) as association:
            assert not association.is_established
        with socket.create_connection(("127.0.0.1", receiver.port), timeout=20) as plain:
            plain.sendall(b"\1\0\0\0\0\4abcd")
            with contextlib.suppress(ConnectionError):
                while plain.recv(100):
                    pass


def test_silent_tls_clients_keep_nobody_out_and_do_not_stay(kit, monkeypatch):
    monkeypatch.setattr("service.pacs.association_server.HANDSHAKE_SECONDS", 0.5)
    with kit.receiving(kit.node(associations=2)) as receiver, contextlib.ExitStack() as silent:
        held = [silent.enter_context(socket.create_connection(("127.0.0.1", receiver.port))) for _ in range(2)]
        with call(kit, receiver.port, kit.context()) as association:
            assert kit.store(association, kit.data_set_of(kit.file())) == (0x0000, None)
        for connection in held:
            connection.settimeout(20)
            assert connection.recv(1) == b""
        kit.until(lambda: not receiver._server._open)


def test_connections_that_shake_hands_are_counted(kit):
    with kit.receiving(kit.node(associations=1)) as receiver, contextlib.ExitStack() as silent:
        for _ in range(2):
            silent.enter_context(socket.create_connection(("127.0.0.1", receiver.port)))
        kit.until(lambda: len(receiver._server._open) == 2)
        with socket.create_connection(("127.0.0.1", receiver.port), timeout=20) as further:
            assert further.recv(1) == b""


def test_who_has_shaken_hands_after_the_end_is_not_served(kit, monkeypatch):
    began, go_on = [], []
    shake = GuardedServer._shake_hands

    def slow(request, tls):
        began.append(request)
        kit.until(lambda: go_on)
        return shake(request, tls)

    monkeypatch.setattr(GuardedServer, "_shake_hands", staticmethod(slow))
    node = kit.node()
    with kit.receiving(node) as receiver:
        server = receiver._server
        with socket.create_connection(("127.0.0.1", receiver.port), timeout=20) as late:
            kit.until(lambda: began)
            receiver.stop()
            go_on.append(True)
            with contextlib.suppress(OSError), kit.context().wrap_socket(late, server_hostname="127.0.0.1") as wrapped:
                assert wrapped.recv(1) == b""
        kit.until(lambda: not server._open)
        assert not receiver._guests

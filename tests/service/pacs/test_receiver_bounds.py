"""Peers that misbehave: what they send costs bounded memory and time, and keeps nobody else out."""

from __future__ import annotations

import contextlib
import io
import socket
import struct
import threading
import time
import tracemalloc
import types

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import build_context
from pynetdicom.dimse_messages import C_ECHO_RQ, C_STORE_RQ
from pynetdicom.dimse_primitives import C_ECHO, C_STORE
from pynetdicom.pdu import A_ASSOCIATE_RQ, P_DATA_TF
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    MaximumLengthNotification,
)
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import Verification

ABORT = 7
CT_CONTEXT, ECHO_CONTEXT = 1, 3


@pytest.fixture
def kit(scu, ct_slice, receiving):
    return types.SimpleNamespace(**vars(scu), file=ct_slice, receiving=receiving)


def context(number, abstract):
    made = PresentationContext()
    made.context_id, made.abstract_syntax = number, abstract
    made.add_transfer_syntax(ExplicitVRLittleEndian)
    return made


def association_request():
    asked = A_ASSOCIATE()
    asked.application_context_name = "1.2.840.10008.3.1.1.1"
    asked.calling_ae_title, asked.called_ae_title = "SCANNER", "CLEARSLICE"
    longest, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    longest.maximum_length_received, implementation.implementation_class_uid = 16384, "1.2.3.4"
    asked.user_information = [longest, implementation]
    asked.calling_presentation_address = asked.called_presentation_address = None
    asked.presentation_context_definition_list = [
        context(CT_CONTEXT, CTImageStorage),
        context(ECHO_CONTEXT, Verification),
    ]
    made = A_ASSOCIATE_RQ()
    made.from_primitive(asked)
    return made.encode()


def message(kind, primitive, number):
    """The PDUs of a message."""
    made = kind()
    made.primitive_to_message(primitive)
    parts = []
    for data in made.encode_msg(number, 16384):
        pdu = P_DATA_TF()
        pdu.from_primitive(data)
        parts.append(pdu.encode())
    return b"".join(parts)


def echo_request():
    asked = C_ECHO()
    asked.MessageID, asked.AffectedSOPClassUID = 1, Verification
    return message(C_ECHO_RQ, asked, ECHO_CONTEXT)


def store_request(data, uid="1.2.3.4.5"):
    asked = C_STORE()
    asked.MessageID, asked.Priority = 1, 2
    asked.AffectedSOPClassUID, asked.AffectedSOPInstanceUID = CTImageStorage, uid
    asked.DataSet = io.BytesIO(data)
    return message(C_STORE_RQ, asked, CT_CONTEXT)


def part_of_data_set(size, *, last=False):
    """A PDU that goes on with a data set."""
    item = struct.pack(">IBB", size + 2, CT_CONTEXT, 2 if last else 0) + bytes(size)
    return struct.pack(">BBI", 4, 0, len(item)) + item


def read_pdu(connection):
    """Its type; None at the end of the connection."""
    head = b""
    while len(head) < 6:
        more = connection.recv(6 - len(head))
        if not more:
            return None
        head += more
    left = int.from_bytes(head[2:], "big")
    while left:
        left -= len(connection.recv(left))
    return head[0]


@contextlib.contextmanager
def connected(port, *, associated=True):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        if associated:
            connection.sendall(association_request())
            assert read_pdu(connection) == 2
        yield connection


def ended(connection):
    """Types of the PDUs up to the end of the connection."""
    found = []
    with contextlib.suppress(ConnectionError):
        while (kind := read_pdu(connection)) is not None:
            found.append(kind)
    return found


def can_store(kit, port):
    with kit.calling(port) as association:
        assert association.is_established
        return kit.store(association, kit.data_set_of(kit.file())) == (0x0000, None)


def test_as_many_silent_connections_as_associations_keep_nobody_out(door, kit):
    with kit.receiving(door(node={"associations": 3})) as receiver, contextlib.ExitStack() as silent:
        for _ in range(3):
            silent.enter_context(connected(receiver.port, associated=False))
        with kit.calling(receiver.port), kit.calling(receiver.port):
            assert can_store(kit, receiver.port)


def test_silent_connections_are_closed_after_a_while(door, kit):
    with (
        kit.receiving(door(node={"idle_seconds": 0.2})) as receiver,
        connected(receiver.port, associated=False) as silent,
        connected(receiver.port) as idle,
    ):
        assert silent.recv(1) == b""
        assert ended(idle) == [ABORT]


@pytest.mark.parametrize("begun", [b"\1", b"\1\0\0\0\0\x80half", b"\4\0\0\0\1\0half"])
@pytest.mark.parametrize("associated", [True, False])
def test_half_a_message_part_is_not_waited_for_for_ever(door, kit, begun, associated):
    node = door(node={"idle_seconds": 0.3, "associations": 1})
    with kit.receiving(node) as receiver:
        with connected(receiver.port, associated=associated) as half:
            half.sendall(begun)
            assert set(ended(half)) <= {ABORT}
        kit.until(lambda: not receiver._guests and not receiver._server._open)
        assert can_store(kit, receiver.port)


def test_a_peer_that_drips_has_no_more_time_than_a_silent_one(door, kit):
    node = door(node={"idle_seconds": 0.5})
    over = threading.Event()

    def drip(connection):
        with contextlib.suppress(OSError):
            connection.sendall(b"\4\0\0\0\1\0")
            while not over.wait(0.05):
                connection.sendall(b"x")

    with kit.receiving(node) as receiver, connected(receiver.port) as slow:
        thread = threading.Thread(target=drip, args=(slow,))
        thread.start()
        kit.until(lambda: not receiver._guests)
        over.set()
        thread.join(20)


@pytest.mark.parametrize("associated", [True, False])
@pytest.mark.parametrize("kind", [1, 4])
def test_a_message_part_beyond_what_was_agreed_is_not_read(door, kit, kind, associated):
    with kit.receiving(door()) as receiver, connected(receiver.port, associated=associated) as connection:
        connection.sendall(struct.pack(">BBI", kind, 0, 0xFFFFFFFF))
        assert set(ended(connection)) <= {ABORT}
        kit.until(lambda: not receiver._guests)
        assert can_store(kit, receiver.port)


def test_parts_of_the_agreed_length_and_no_longer_are_asked_for(door, kit):
    node = door(node={"pdu_bytes": 5000})
    with kit.receiving(node) as receiver, kit.calling(receiver.port) as association:
        assert association.acceptor.maximum_length == 5000
        assert kit.store(association, kit.data_set_of(kit.file())) == (0x0000, None)


def test_an_endless_instance_is_aborted_at_a_bounded_cost(door, kit):
    node = door(max_upload_bytes=1 << 20)
    told = []
    part = part_of_data_set(100_000)
    with kit.receiving(node, told=told.append) as receiver, connected(receiver.port) as connection:
        # the command, and a data set without an end
        connection.sendall(store_request(b"any ")[: -(16 - 6 + 4 + 2)])
        tracemalloc.start()
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 40 << 20:
                connection.sendall(part)
                sent += len(part)
        kit.until(lambda: not receiver._guests)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 8 << 20
        assert can_store(kit, receiver.port)
    assert told == ["new"]


def test_a_peer_that_does_not_wait_for_answers_is_aborted(door, kit, monkeypatch):
    node = door()
    go_on = threading.Event()
    take = node.arrivals.take

    def slow(*arguments, **options):
        assert go_on.wait(20)
        return take(*arguments, **options)

    with kit.receiving(node) as receiver:
        with connected(receiver.port) as connection, monkeypatch.context() as patched:
            patched.setattr(node.arrivals, "take", slow)
            connection.sendall(store_request(kit.data_set_of(kit.file())))
            with contextlib.suppress(ConnectionError):
                for _ in range(1000):
                    connection.sendall(echo_request())
            assert ended(connection)[-1:] in ([], [ABORT])
            go_on.set()
        kit.until(lambda: not receiver._guests)
        assert can_store(kit, receiver.port)


def test_many_small_requests_are_no_large_one(door, kit):
    node = door(max_upload_bytes=1024)
    contexts = [build_context(CTImageStorage, ExplicitVRLittleEndian)]
    with kit.receiving(node) as receiver, kit.calling(receiver.port, contexts=contexts) as association:
        large = kit.data_set_of(kit.file(ImageComments="x" * 600))
        for number in range(30):
            assert kit.store(association, large + bytes(100_000), uid=f"1.2.9.{number}")[0] == 0xC000
        assert association.is_established


GARBAGE = {
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\0\1\0\1\xfc\3\3" + bytes(512),
    "zeros": bytes(600),
    "an unknown part": struct.pack(">BBI", 9, 0, 4) + b"abcd",
    "data before the association": part_of_data_set(10, last=True),
    "an answer": struct.pack(">BBI", 2, 0, 4) + b"abcd",
    "a broken request": struct.pack(">BBI", 1, 0, 80) + b"\xff" * 80,
}


@pytest.mark.parametrize("name", GARBAGE)
def test_what_is_no_association(door, kit, name):
    node = door(node={"idle_seconds": 0.5})
    begin = time.monotonic()
    with kit.receiving(node) as receiver:
        with connected(receiver.port, associated=False) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(GARBAGE[name])
            assert set(ended(connection)) <= {ABORT}
        assert time.monotonic() - begin < 10
        assert can_store(kit, receiver.port)


def test_stop_waits_for_no_silent_peer(door, kit):
    node = door()
    with kit.receiving(node) as receiver:
        with (
            connected(receiver.port, associated=False),
            connected(receiver.port) as idle,
            connected(receiver.port) as half,
        ):
            half.sendall(b"\4\0\0\0\1\0half")
            kit.until(lambda: len(receiver._guests) == 2)
            begin = time.monotonic()
            receiver.stop()
            assert time.monotonic() - begin < 10
            assert ended(idle) == [ABORT]
        assert not receiver._guests

"""Several associations at once, and how each of them ends: what was acknowledged is there, and nothing stays locked."""

from __future__ import annotations

import socket
import threading
import types

import numpy as np
import pytest

from service.pacs.presence import Presence


@pytest.fixture
def kit(scu, ct_slice, receiving):
    """`scu`, and files."""
    return types.SimpleNamespace(**vars(scu), file=ct_slice, receiving=receiving)


def test_more_associations_than_allowed_are_rejected_for_now(door, kit):
    with kit.receiving(door(node={"associations": 2})) as receiver:
        with kit.calling(receiver.port), kit.calling(receiver.port), kit.calling(receiver.port) as third:
            assert third.is_rejected
            answer = third.acceptor.primitive
            assert (answer.result, answer.result_source, answer.diagnostic) == (2, 3, 2)
        kit.until(lambda: not receiver._guests)
        with kit.calling(receiver.port) as again:
            assert again.is_established


def test_five_associations_with_interleaved_series(door, kit):
    node = door()
    series = [f"1.2.3.4.{number}" for number in range(1, 6)]
    begun = threading.Barrier(5)
    outcome = []

    def send(number, port):
        with kit.calling(port) as association:
            begun.wait(20)
            for turn in range(6):
                uid = f"1.2.9.{number}.{turn}"
                changes = {"SOPInstanceUID": uid, "SeriesInstanceUID": series[(number + turn) % 5]}
                outcome.append(kit.store(association, kit.data_set_of(kit.file(**changes)), uid=uid))

    with kit.receiving(node) as receiver:
        threads = [threading.Thread(target=send, args=(number, receiver.port)) for number in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert outcome == [(0x0000, None)] * 30
    assert [len(node.sources(uid)) for uid in series] == [6] * 5
    assert not any(node.arrivals.series(uid).anybody_present() for uid in series)


def test_a_series_is_present_until_its_association_ends(door, kit):
    node = door()
    with kit.receiving(node) as receiver:
        with kit.calling(receiver.port) as association:
            kit.store(association, kit.data_set_of(kit.file()))
            assert node.arrivals.series("1.2.3.4").anybody_present()
        kit.until(lambda: not node.arrivals.series("1.2.3.4").anybody_present())


def test_a_sender_that_leaves_while_its_instance_is_read_leaves_nothing_locked(door, kit, monkeypatch):
    node = door()
    reading, go_on = threading.Event(), threading.Event()
    take = node.arrivals.take

    def slow(*arguments, **options):
        reading.set()
        assert go_on.wait(20)
        return take(*arguments, **options)

    monkeypatch.setattr(node.arrivals, "take", slow)
    with kit.receiving(node) as receiver:
        with kit.calling(receiver.port) as association:
            sender = threading.Thread(target=kit.store, args=(association, kit.data_set_of(kit.file())))
            sender.start()
            assert reading.wait(20)
            association.dul.socket.socket.shutdown(socket.SHUT_RDWR)
            sender.join(20)
        go_on.set()
        kit.until(lambda: node.sources() == ["1.2.3.4.5"])
        kit.until(lambda: not receiver._guests)
        assert not node.arrivals.series("1.2.3.4").anybody_present()


def test_stop_while_somebody_sends(door, kit):
    node = door()
    outcome = []
    pixels = np.random.default_rng(1).integers(-200, 1500, (64, 64)).astype(np.int16)
    uids = [f"1.2.3.4.{number}" for number in range(40)]
    files = {uid: kit.data_set_of(kit.file(pixels, SOPInstanceUID=uid)) for uid in uids}
    sends = threading.Event()

    def send(port):
        with kit.calling(port) as association:
            for uid, data in files.items():
                answer = kit.store(association, data, uid=uid)
                if answer is None:
                    break
                outcome.append((uid, answer))
                sends.set()

    with kit.receiving(node) as receiver:
        sender = threading.Thread(target=send, args=(receiver.port,))
        sender.start()
        assert sends.wait(20)
        receiver.stop()
        sender.join(30)
    acknowledged = {uid for uid, answer in outcome if answer == (0x0000, None)}
    assert acknowledged
    assert acknowledged <= set(node.sources())
    assert not node.arrivals.series("1.2.3.4").anybody_present()
    assert not [path for path in node.left() if path.endswith(".part")]


def test_who_sees_the_end_of_an_association_second_finds_all_of_it_done(door, kit, monkeypatch):
    node = door()
    parts, go_on = threading.Event(), threading.Event()
    leave = Presence.leave

    def slow(presence):
        parts.set()
        assert go_on.wait(20)
        leave(presence)

    monkeypatch.setattr(Presence, "leave", slow)
    with kit.receiving(node) as receiver:
        with kit.calling(receiver.port) as association:
            kit.store(association, kit.data_set_of(kit.file()))
            (seen,) = receiver._guests
        assert parts.wait(20)
        second = threading.Thread(target=receiver._leave, args=(seen,))
        second.start()
        second.join(0.2)
        assert second.is_alive()
        assert receiver._guests
        go_on.set()
        second.join(20)
        assert not node.arrivals.series("1.2.3.4").anybody_present()


def test_what_is_taken_behind_the_end_of_its_sender_keeps_nothing_locked(door, kit):
    node = door()
    node.presence.leave()
    node.take(kit.file())
    assert node.sources()
    assert not node.arrivals.series("1.2.3.4").anybody_present()

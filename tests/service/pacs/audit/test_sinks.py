"""Files that are rotated, and collectors by UDP, TCP and TLS that come and go."""

from __future__ import annotations

import dataclasses
import errno
import os
import queue
import socket
import ssl
import stat

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from service.pacs.audit.collector import Address, parse_address
from service.pacs.audit.facts import Record
from service.pacs.audit.sinks import FileSink, SyslogSink, Unsendable
from service.pacs.parts import Tls

SECONDS = 20


@pytest.fixture
def sink():
    """(address, ...) -> a SyslogSink that is closed afterwards."""
    made = []

    def sink(address, **arguments):
        made.append(SyslogSink(address, host="ct", **arguments))
        return made[-1]

    yield sink
    for each in made:
        each.close()


@pytest.fixture
def secured(sink, collect, certificates):
    """(tls, host=..., ...) -> a SyslogSink by TLS, and its collector, whose side is as the rest says."""

    def secured(tls, host="127.0.0.1", **changes):
        collector = collect(context=certificates.server(**changes))
        return sink(Address("tls", host, collector.port), tls=tls), collector

    return secured


def told(message):
    return message.partition(b"\xef\xbb\xbf")[2]


@pytest.fixture
def file(tmp_path):
    """(path, FileSink)."""
    made = FileSink(tmp_path / "audit.log")
    yield tmp_path / "audit.log", made
    made.close()


def test_a_file_gets_a_line_for_each_message(file, record):
    path, sink = file
    for number in range(3):
        sink.write(record(number))
        assert path.read_bytes().splitlines() == [record(each).xml for each in range(number + 1)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_in_a_file_stays(file, record):
    path, sink = file
    path.write_bytes(b"before\n")
    path.chmod(0o640)
    sink.write(record())
    assert path.read_bytes() == b"before\n" + record().xml + b"\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize("replaced", [True, False])
def test_a_rotated_file_is_made_anew(file, record, replaced):
    path, sink = file
    sink.write(record(1))
    path.rename(path.with_suffix(".1"))
    if replaced:
        path.touch()
    sink.write(record(2))
    assert path.with_suffix(".1").read_bytes() == record(1).xml + b"\n"
    assert path.read_bytes() == record(2).xml + b"\n"


def test_a_truncated_file_goes_on_from_its_start(file, record):
    path, sink = file
    sink.write(record(1))
    os.truncate(path, 0)
    sink.write(record(2))
    assert path.read_bytes() == record(2).xml + b"\n"


def test_a_line_that_a_full_disk_tore_is_ended_first(file, record, monkeypatch):
    path, sink = file
    write, calls = os.write, []

    def full(descriptor, data):
        calls.append(data)
        if len(calls) == 1:
            return write(descriptor, data[:5])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    for _ in range(2):
        with pytest.raises(OSError, match="No space"):
            sink.write(record(1))
    monkeypatch.undo()
    sink.write(record(1))
    sink.write(record(2))
    assert path.read_bytes().splitlines() == [record(1).xml[:5], record(1).xml, record(2).xml]


def test_a_folder_that_is_not_there_is_an_error_until_it_is(tmp_path, record):
    sink = FileSink(tmp_path / "later" / "audit.log")
    with pytest.raises(FileNotFoundError):
        sink.write(record())
    (tmp_path / "later").mkdir()
    sink.write(record())
    sink.close()
    assert (tmp_path / "later" / "audit.log").exists()


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_datagrams_hold_one_message_each(sink, record, family, host):
    with socket.socket(family, socket.SOCK_DGRAM) as receiver:
        try:
            receiver.bind((host, 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
        receiver.settimeout(SECONDS)
        sender = sink(Address("udp", host, receiver.getsockname()[1]))
        for number in range(2):
            sender.write(record(number))
        got = [receiver.recv(65536) for _ in range(2)]
    assert got[0] == (
        b"<85>1 2026-03-04T05:06:07.890+00:00 ct clearslice %d DICOM+RFC3881 - \xef\xbb\xbf" % os.getpid()
        + record(0).xml
    )
    assert told(got[1]) == record(1).xml


def test_a_message_that_no_datagram_holds_is_unsendable(sink, record):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(SECONDS)
        sender = sink(Address("udp", "127.0.0.1", receiver.getsockname()[1]))
        with pytest.raises(Unsendable):
            sender.write(dataclasses.replace(record(), xml=b"x" * 66_000))
        sender.write(record(1))
        assert told(receiver.recv(65536)) == record(1).xml


def test_a_stream_holds_frames_of_any_length(sink, record, collect):
    collector = collect()
    sender = sink(Address("tcp", "127.0.0.1", collector.port))
    sent = [record(1), Record("ä\n".encode() * 100_000, record().when, record().outcome), record(2)]
    for each in sent:
        sender.write(each)
    assert [told(collector.got.get(timeout=SECONDS)) for _ in sent] == [each.xml for each in sent]


@pytest.mark.parametrize("secured", [False, True])
def test_a_connection_that_was_closed_costs_no_message(sink, record, collect, certificates, secured):
    collector = collect(context=certificates.server() if secured else None)
    sender = sink(Address("tls" if secured else "tcp", "127.0.0.1", collector.port), tls=certificates.node)
    for number in range(3):
        sender.write(record(number))
        assert told(collector.got.get(timeout=SECONDS)) == record(number).xml
        collector.hang_up()


def test_nobody_listens(sink, record, collect):
    collector = collect(listening=False)
    sender = sink(Address("tcp", "127.0.0.1", collector.port))
    with pytest.raises(ConnectionRefusedError):
        sender.write(record())
    collector.listen()
    sender.write(record(1))
    assert told(collector.got.get(timeout=SECONDS)) == record(1).xml


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_both_sides_show_certificates(secured, record, certificates, version, host):
    sender, collector = secured(certificates.node, host, minimum_version=version, maximum_version=version)
    sender.write(record(1))
    assert told(collector.got.get(timeout=SECONDS)) == record(1).xml


def test_a_collector_without_tickets_is_waited_for_and_then_taken(secured, record, certificates, monkeypatch):
    monkeypatch.setattr("service.pacs.audit.collector.REFUSAL_SECONDS", 0.05)
    sender, collector = secured(certificates.node, num_tickets=0)
    sender.write(record(1))
    assert told(collector.got.get(timeout=SECONDS)) == record(1).xml


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("shown", ["stranger", "nothing"])
def test_a_node_that_the_collector_does_not_trust_is_told(secured, record, certificates, version, shown):
    tls = certificates.stranger if shown == "stranger" else Tls(authority=certificates.node.authority)
    sender, collector = secured(tls, minimum_version=version, maximum_version=version)
    for _ in range(2):
        with pytest.raises(OSError, match=r"(?i)alert|reset|closed|eof|broken"):
            sender.write(record())
    with pytest.raises(queue.Empty):
        collector.got.get_nowait()


@pytest.mark.parametrize("authority", ["system", "other"])
def test_a_collector_that_the_node_does_not_trust_gets_nothing(secured, record, certificates, authority):
    tls = None if authority == "system" else Tls(authority=certificates.stranger.certificate)
    sender, collector = secured(tls)
    with pytest.raises(ssl.SSLCertVerificationError):
        sender.write(record())
    assert collector.got.empty()


def test_a_certificate_that_is_missing_is_an_error_of_the_moment(secured, record, certificates, tmp_path):
    tls = Tls(certificate=tmp_path / "x.pem", key=tmp_path / "x.key", authority=certificates.node.authority)
    sender, collector = secured(tls)
    with pytest.raises(FileNotFoundError):
        sender.write(record())
    for name, file in (("x.pem", certificates.node.certificate), ("x.key", certificates.node.key)):
        (tmp_path / name).write_bytes(file.read_bytes())
    sender.write(record())
    assert told(collector.got.get(timeout=SECONDS)) == record().xml


def test_a_key_with_a_password_is_an_error_and_not_a_question(secured, record, certificates, tmp_path):
    plain = load_pem_private_key(certificates.node.key.read_bytes(), None)
    locked = plain.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    (tmp_path / "locked.key").write_bytes(locked)
    sender, _ = secured(Tls(certificate=certificates.node.certificate, key=tmp_path / "locked.key"))
    with pytest.raises(ssl.SSLError):
        sender.write(record())


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("udp://h", Address("udp", "h", 514)),
        ("udp://h:1514", Address("udp", "h", 1514)),
        ("tls://h", Address("tls", "h", 6514)),
        ("tcp://[fd00::7]:601", Address("tcp", "fd00::7", 601)),
    ],
)
def test_addresses_are_read(text, address):
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text", ["", "h:514", "tcp://h", "http://h:1", "udp://", "udp://h/x", "udp://a@h", "udp://h:99999", "udp://[h"]
)
def test_other_addresses_are_refused(text):
    with pytest.raises(ValueError, match=r"\S"):
        parse_address(text)

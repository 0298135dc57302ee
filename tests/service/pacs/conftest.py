"""The door of a node on a folder of its own, and senders that knock at it.

door(node=..., peers=..., rules=..., <setting>=...) -> Door: take(file), and what is left of it in the spool
receiving(door, ...) -> context with a Receiver on a free port of 127.0.0.1
scu.calling(port, ...) -> context with an association          scu.store(association, bytes, ...) -> status, comment
authority -> `sign(...)` certificates: `Authority` of peers/conftest.py
"""

from __future__ import annotations

import contextlib
import io
import runpy
import threading
import time
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom.filereader import read_dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, build_context
from pynetdicom.dimse_primitives import C_STORE

from service.pacs.arrivals import NOTHING_SAID, Arrivals, folder_of
from service.pacs.audit.trail import Trail
from service.pacs.configuration import parse_configuration
from service.pacs.presence import Presence
from service.pacs.receiver import Receiver
from service.settings import Settings

PATIENCE = 20.0
LOCKS = {"written", "present"}
TO_ARCHIVE = {"name": "CT", "modality": "CT", "to": ["archive"]}
PEERS = {
    "archive": {"aet": "ARCHIVE", "host": "127.0.0.1", "port": 104},
    "scanner": {"aet": "SCANNER", "host": "127.0.0.1", "may_send": True},
}


def until(condition):
    """Waits for something that other threads do."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never happened"
        threading.Event().wait(0.005)


@dataclass
class Door:
    """Arrivals of a node, and what became of what came."""

    arrivals: Arrivals
    configuration: Any
    settings: Settings
    presence: Presence = field(default_factory=Presence)

    @property
    def folder(self):
        return self.arrivals.folder

    def take(self, data, *, sender="SCANNER", announced=NOTHING_SAID):
        return self.arrivals.take(data, sender=sender, presence=self.presence, announced=announced)

    def sources(self, series="1.2.3.4"):
        return self.arrivals.series(series).sources()

    def source(self, uid, series="1.2.3.4"):
        return self.arrivals.series(series).source(uid).read_bytes()

    def holes(self, series="1.2.3.4"):
        return self.arrivals.series(series).refused()

    def left(self):
        """All files below the folder, but for locks, which hold nothing."""
        return {
            str(path.relative_to(self.folder))
            for path in self.folder.rglob("*")
            if path.is_file() and path.name not in LOCKS
        }


@pytest.fixture
def door(tmp_path):
    """(node=..., peers=..., rules=..., <setting>=...) -> Door; of one spool."""
    made = []

    def make(*, node=None, peers=None, rules=(TO_ARCHIVE,), **settings):
        found = {"node": {"reserve": 0, **(node or {})}, "peers": peers or PEERS, "rules": list(rules)}
        configuration = parse_configuration(found, folder=tmp_path)
        app = Settings(**{"max_upload_bytes": 1 << 22, "max_pixels": 1 << 20, **settings})
        made.append(Door(Arrivals(folder_of(tmp_path / "spool"), configuration, app), configuration, app))
        return made[-1]

    yield make
    for each in made:
        each.presence.leave()


@dataclass
class Told(list):
    """What was said of each instance, in order; called for each."""

    def __call__(self, kind):
        self.append(kind)


@pytest.fixture
def receiving():
    """(door) -> context with its Receiver; afterwards nobody is left in it."""

    @contextlib.contextmanager
    def receive(door, *, trail=None, told=lambda _: None):
        trail = trail or Trail(door.configuration.node.aet, None)
        receiver = Receiver(door.arrivals, door.configuration, door.settings, trail=trail, told=told)
        receiver.start()
        try:
            yield receiver
            until(lambda: not receiver._guests)
        finally:
            receiver.stop()

    return receive


def data_set_of(data):
    """The bytes of a file after the file meta information."""
    stream = io.BytesIO(data)
    stream.seek(132)
    read_dataset(stream, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, *_: tag.group != 2)
    return data[stream.tell() :]


@contextlib.contextmanager
def calling(port, *, aet="SCANNER", called="CLEARSLICE", contexts=None, **options):
    """An association, established or not; released in the end, and its connection closed."""
    entity = AE(ae_title=aet)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = PATIENCE
    contexts = contexts or [build_context(CTImageStorage, ExplicitVRLittleEndian)]
    association = entity.associate("127.0.0.1", port, contexts=contexts, ae_title=called, **options)
    raw = association.dul.socket.socket
    try:
        yield association
    finally:
        if association.is_established:
            association.release()
        if association.is_alive():
            association.join(PATIENCE)
        if raw is not None:
            raw.close()


def store(association, data, *, uid="1.2.3.4.5", sop_class=CTImageStorage, syntax=ExplicitVRLittleEndian):
    """Sends the bytes of a data set as they are; status and comment of the answer, or None where there is none."""
    context = next(
        each
        for each in association.accepted_contexts
        if (each.abstract_syntax, each.transfer_syntax[0]) == (sop_class, syntax)
    )
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = sop_class, uid
    request.DataSet = io.BytesIO(data)
    association._reactor_checkpoint.clear()
    until(lambda: association._is_paused)
    try:
        association.dimse.send_msg(request, context.context_id)
        _, answer = association.dimse.get_msg(block=True)
    finally:
        association._reactor_checkpoint.set()
    return None if answer is None else (answer.Status, answer.ErrorComment)


@pytest.fixture(scope="session")
def scu():
    """What senders do; see the functions of this file."""
    return types.SimpleNamespace(calling=calling, store=store, data_set_of=data_set_of, until=until)


@pytest.fixture(scope="session")
def authority():
    """(name) -> an authority that signs certificates."""
    return runpy.run_path(str(Path(__file__).with_name("peers") / "conftest.py"))["_Authority"]

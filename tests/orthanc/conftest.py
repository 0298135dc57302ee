"""A real Orthanc and a real node beside it, for all tests of this folder, in a network namespace with loopback only.

orthanc, node -> both, started                 kit.drawn(n, seed=1) -> a Source of n drawn slices
kit.real_or_drawn(name, n, seed=1) -> n slices of a real series where it is there, or drawn ones
kit.check(orthanc, node, source, ...) -> the derived series lies in Orthanc, as it should

Orthanc binds every address whatever its configuration says, so nothing is started where others could reach it.
"""

from __future__ import annotations

import fcntl
import io
import os
import runpy
import socket
import struct
import subprocess
import types
import zipfile
from dataclasses import dataclass
from pathlib import Path

import httpx
import pydicom
import pytest
from pynetdicom import AE

from imaging.dicom_file import encoded_data_set, read_dicom
from imaging.dicom_pixels import image_from_dataset
from imaging.formats import Limits
from service.dicom import rules

HERE = Path(__file__).parent
ORTHANC = types.SimpleNamespace(**runpy.run_path(str(HERE / "orthanc_server.py")))
NODE = types.SimpleNamespace(**runpy.run_path(str(HERE / "node_server.py")))
DATA = Path(os.environ.get("CLEARSLICE_TEST_DATA") or HERE.parents[2] / "shared" / "data")
LIMITS = Limits(max_bytes=10**8, max_pixels=10**7)

GET_FLAGS, SET_FLAGS, UP, RUNNING = 0x8913, 0x8914, 0x1, 0x40
"""SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP and IFF_RUNNING (Linux, netdevice(7))."""


def flags_of(interface, *, new=None):
    """Flags of a network interface; `new` are set."""
    with socket.socket() as any_socket:
        asked = struct.pack("16sh14x", interface.encode(), 0 if new is None else new)
        answer = fcntl.ioctl(any_socket, GET_FLAGS if new is None else SET_FLAGS, asked)
    return struct.unpack("16sh14x", answer)[1]


def no_namespace():
    """Why this is no network namespace with loopback only; empty: it is one. Brings loopback up."""
    others = [name for _, name in socket.if_nameindex() if name != "lo" and flags_of(name) & UP]
    if others:
        return f"Orthanc would be reached from outside ({', '.join(others)}): run it as `make test-orthanc`"
    try:
        if not flags_of("lo") & UP:
            flags_of("lo", new=UP | RUNNING)
    except OSError as error:
        return f"loopback is down, and cannot be brought up: {error.strerror}"
    return ""


def free_ports(count):
    """Ports of loopback on which nobody listens."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@pytest.fixture(scope="session")
def _both(tmp_path_factory):
    why_not = ORTHANC.missing() or no_namespace()
    if why_not:
        pytest.skip(why_not)
    ports = free_ports(4)
    node = NODE.NodeServer(tmp_path_factory.mktemp("node"), ports[:2])
    orthanc = ORTHANC.Orthanc(
        tmp_path_factory.mktemp("orthanc"),
        ports[2:],
        node_port=node.port,
        node_url=f"{node.url}/dicom-web/",
        keys=node.keys,
    )
    try:
        orthanc.start()
        node.start(orthanc)
        yield types.SimpleNamespace(orthanc=orthanc, node=node)
    finally:
        node.stop()
        orthanc.stop()


@pytest.fixture
def orthanc(_both):
    """It is there, whatever a test did to it."""
    yield _both.orthanc
    if not _both.orthanc.running:
        _both.orthanc.start()


@pytest.fixture
def node(_both):
    return _both.node


@dataclass(frozen=True)
class Source:
    """A series: its UIDs, and SOPInstanceUID -> bytes of each instance."""

    study: str
    series: str
    files: dict[str, bytes]


def source_of(files):
    """From the bytes of its instances, in order of InstanceNumber."""
    found = sorted(((parsed(data), data) for data in files), key=lambda each: int(each[0].InstanceNumber))
    first = found[0][0]
    named = {str(dataset.SOPInstanceUID): data for dataset, data in found}
    return Source(str(first.StudyInstanceUID), str(first.SeriesInstanceUID), named)


def parsed(data):
    return pydicom.dcmread(io.BytesIO(data))


def real(name, count):
    """Instances in the middle of a real series, where there is one."""
    archive = DATA / "ct" / "train" / f"{name}.zip"
    if not archive.is_file():
        return None
    with zipfile.ZipFile(archive) as files:
        names = sorted(each for each in files.namelist() if each.endswith(".dcm"))
        start = (len(names) - count) // 2
        return source_of([files.read(each) for each in names[start : start + count]])


def findings(program, *files, folder):
    """Lines with `Error` that a program of dicom3tools prints; it exits 0 whatever it finds."""
    paths = []
    for number, data in enumerate(files):
        paths.append(folder / f"{number}.dcm")
        paths[-1].write_bytes(data)
    done = subprocess.run([program, *map(str, paths)], capture_output=True, text=True, errors="replace", check=False)
    return {line.strip() for line in (done.stdout + done.stderr).splitlines() if "Error" in line}


def check_rules(source, derived):
    """Our own rules find nothing."""
    before, after = (read_dicom(data, limits=LIMITS) for data in (source, derived))
    image = image_from_dataset(before, max_pixels=LIMITS.max_pixels)
    assert rules.findings(before, after, padding=image.padding) == ()


def check(orthanc, node, source, series):
    """The whole derived series lies in Orthanc, in the study of its source, one instance for each, as it was made.

    Returns:
        SOPInstanceUID of the source -> what WADO-RS gives.
    """
    made = {str(parsed(data).SOPInstanceUID): data for data in node.derived(source.series)}
    assert series in orthanc.series_of(source.study)
    assert orthanc.listed(source.study, series) == made.keys()
    found = {}
    for uid, ours in made.items():
        theirs = orthanc.fetched(source.study, series, uid)
        assert encoded_data_set(theirs) == encoded_data_set(ours)
        found[str(parsed(theirs).SourceImageSequence[0].ReferencedSOPInstanceUID)] = theirs
    assert found.keys() == source.files.keys()
    for uid, theirs in found.items():
        check_rules(source.files[uid], theirs)
    return found


def send(node, files):
    """C-STORE to the node in Orthanc's name; the statuses."""
    datasets = [parsed(data) for data in files]
    entity = AE(ae_title=ORTHANC.AET)
    for syntax in {dataset.file_meta.TransferSyntaxUID for dataset in datasets}:
        entity.add_requested_context(datasets[0].SOPClassUID, syntax)
    association = entity.associate("127.0.0.1", node.port, ae_title="CLEARSLICE")
    assert association.is_established
    statuses = [association.send_c_store(dataset).Status for dataset in datasets]
    association.release()
    return statuses


def stow(node, files):
    """STOW-RS to the node with the key that Orthanc has; the status."""
    parts = b"".join(b"--b\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n" for data in files)
    headers = {
        "Authorization": f"Bearer {node.keys['web']}",
        "Content-Type": 'multipart/related; type="application/dicom"; boundary=b',
    }
    return httpx.post(f"{node.url}/dicom-web/studies", content=parts + b"--b--\r\n", headers=headers).status_code


@pytest.fixture
def kit(tmp_path, write_dicom):
    """What these tests do again and again; see the functions of this file."""

    def drawn(count, *, seed):
        folder = tmp_path / f"drawn-{seed}"
        write_dicom(folder, patient=f"P{seed}", seed=seed, slices=count)
        return source_of([path.read_bytes() for path in folder.iterdir()])

    return types.SimpleNamespace(
        drawn=drawn,
        real_or_drawn=lambda name, count, *, seed: real(name, count) or drawn(count, seed=seed),
        check=check,
        send=send,
        parsed=parsed,
        findings=lambda program, *files: findings(program, *files, folder=tmp_path),
        stow=stow,
    )

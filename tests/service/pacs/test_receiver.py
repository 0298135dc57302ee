"""Receiving by DIMSE: who may associate, what is accepted, and every status, with real clients on loopback."""

from __future__ import annotations

import errno
import shutil
import subprocess
import types

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    LegacyConvertedEnhancedCTImageStorage,
    MRImageStorage,
    SecondaryCaptureImageStorage,
)
from pynetdicom import build_context, build_role
from pynetdicom.sop_class import Verification

from service.dicom.identity import IMPLEMENTATION_CLASS_UID
from service.pacs.arrivals import TAKEN_CLASSES
from service.pacs.commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE, event_for
from service.pacs.reports import Reports

NATIVE = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "big": ExplicitVRBigEndian,
}
CT_AND_ECHO = [build_context(CTImageStorage, ExplicitVRLittleEndian), build_context(Verification)]


@pytest.fixture
def kit(scu, ct_slice, receiving):
    """`scu`, and files: kit.slices(n, ...) -> data sets by their UID."""

    def slices(count, **changes):
        files = {}
        for number in range(1, count + 1):
            uid = f"1.2.3.4.{number}"
            pixels = np.random.default_rng(number).integers(-200, 1500, (12, 16)).astype(np.int16)
            files[uid] = scu.data_set_of(ct_slice(pixels, **{"SOPInstanceUID": uid, **changes}))
        return files

    return types.SimpleNamespace(**vars(scu), slices=slices, file=ct_slice, receiving=receiving)


def rejection(association):
    """Result, source and reason of A-ASSOCIATE-RJ."""
    assert association.is_rejected
    answer = association.acceptor.primitive
    return answer.result, answer.result_source, answer.diagnostic


def test_echo(door, kit):
    with kit.receiving(door()) as receiver, kit.calling(receiver.port, contexts=CT_AND_ECHO) as association:
        assert association.send_c_echo().Status == 0x0000
        assert association.acceptor.implementation_class_uid == IMPLEMENTATION_CLASS_UID


@pytest.mark.parametrize("syntax", NATIVE)
def test_the_data_set_lies_here_as_it_was_sent(door, kit, syntax):
    node = door()
    sent = kit.data_set_of(kit.file(syntax=syntax))
    contexts = [build_context(CTImageStorage, NATIVE[syntax])]
    with kit.receiving(node) as receiver, kit.calling(receiver.port, contexts=contexts) as association:
        assert kit.store(association, sent, syntax=NATIVE[syntax]) == (0x0000, None)
    kept = node.source("1.2.3.4.5")
    assert kit.data_set_of(kept) == sent
    meta = dcmread(node.arrivals.series("1.2.3.4").source("1.2.3.4.5")).file_meta
    assert meta.TransferSyntaxUID == NATIVE[syntax]
    assert (meta.SourceApplicationEntityTitle, meta.ReceivingApplicationEntityTitle) == ("SCANNER", "CLEARSLICE")


@pytest.mark.parametrize(("aet", "known"), [("STRANGER", True), ("SCANNER", False)])
def test_an_unknown_title_is_rejected_for_good_and_an_unknown_address_hears_nothing(door, kit, aet, known):
    host = "127.0.0.1" if known else "192.0.2.1"
    node = door(peers={"scanner": {"aet": "SCANNER", "host": host, "may_send": True}}, rules=())
    with kit.receiving(node) as receiver, kit.calling(receiver.port, aet=aet) as association:
        assert not association.is_established
        if known:
            assert rejection(association) == (1, 1, 3)
        else:
            assert not association.is_rejected


def test_a_wrong_called_title_is_rejected(door, kit):
    with kit.receiving(door()) as receiver:
        with kit.calling(receiver.port, called="SOMEBODY") as association:
            assert rejection(association) == (1, 1, 7)
        with kit.calling(receiver.port) as association:
            assert association.is_established


def test_any_caller_may_send_on_loopback_if_that_is_wanted(door, kit):
    with kit.receiving(door(node={"any_caller": True})) as receiver, kit.calling(receiver.port, aet="ANY") as caller:
        (data,) = kit.slices(1).values()
        assert kit.store(caller, data, uid="1.2.3.4.1") == (0x0000, None)


def test_only_classes_of_ct_get_a_presentation_context(door, kit):
    asked = [*TAKEN_CLASSES, MRImageStorage, SecondaryCaptureImageStorage, "1.2.840.10008.5.1.4.1.2.2.1"]
    contexts = [build_context(each, ExplicitVRLittleEndian) for each in asked]
    with kit.receiving(door()) as receiver, kit.calling(receiver.port, contexts=contexts) as association:
        accepted = {each.abstract_syntax for each in association.accepted_contexts}
    assert accepted == {CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage}


@pytest.mark.parametrize(
    ("announced", "status"),
    [({"uid": "1.2.3.4.6"}, 0xA900), ({"sop_class": EnhancedCTImageStorage}, 0xA900), ({}, 0x0000)],
)
def test_what_is_another_instance_than_announced(door, kit, announced, status):
    node = door()
    contexts = [build_context(each, ExplicitVRLittleEndian) for each in TAKEN_CLASSES]
    with kit.receiving(node) as receiver, kit.calling(receiver.port, contexts=contexts) as association:
        found, comment = kit.store(association, kit.data_set_of(kit.file()), **announced)
        assert found == status
        assert comment == ("SOPClassUID, SOPInstanceUID or StudyInstanceUID is another one t" if status else None)
    assert bool(node.left()) is not bool(status)


def test_a_full_disk_is_told_as_such(door, kit):
    with kit.receiving(door(node={"reserve": 1 << 60})) as receiver, kit.calling(receiver.port) as association:
        status, comment = kit.store(association, kit.data_set_of(kit.file()))
    assert (status, comment[:41]) == (0xA700, "the disk has less than the 11529215046068")


def test_a_disk_that_fails_is_no_defect(door, kit, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    node = door()
    with kit.receiving(node) as receiver, kit.calling(receiver.port) as association:
        for failing in ("service.pacs.series_folder.SeriesFolder.be_present", "service.pacs.series_folder.write_file"):
            with monkeypatch.context() as patched:
                patched.setattr(failing, fail)
                status, comment = kit.store(association, kit.data_set_of(kit.file(RescaleSlope="0")))
            assert (status, comment) == (0xA700, "the disk of this node failed: No space left on device; try again")
        assert kit.store(association, kit.data_set_of(kit.file())) == (0x0000, None)


def test_a_defect_is_told_without_its_text_and_the_association_lives_on(door, kit, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("Doe^Jane")

    told = []
    node = door()
    with kit.receiving(node, told=told.append) as receiver, kit.calling(receiver.port) as association:
        with monkeypatch.context() as patched:
            patched.setattr(node.arrivals, "take", fail)
            assert kit.store(association, b"any ") == (0x0110, "the node failed; its log says more")
        assert kit.store(association, kit.data_set_of(kit.file())) == (0x0000, None)
    assert told == ["0110", "new"]


def test_what_is_refused_by_a_rule_or_cannot_be_understood(door, kit):
    node = door(rules=[{"name": "no heads", "body_part": "HEAD", "action": "refuse"}, {"name": "k", "action": "keep"}])
    with kit.receiving(node) as receiver, kit.calling(receiver.port) as association:
        head = kit.data_set_of(kit.file(BodyPartExamined="HEAD"))
        assert kit.store(association, head) == (
            0x0124,
            "it is refused by the rules of this node: rule 'no heads': refuse",
        )
        assert kit.store(association, b"words")[0] == 0xC000
    assert node.left() == set()


def test_a_name_in_a_character_set_that_is_none_fails_nothing(door, kit):
    data = kit.data_set_of(kit.file()).replace(b"ISO_IR 100", b"ISO_IR 192")  # and its name is no UTF-8
    with kit.receiving(door()) as receiver, kit.calling(receiver.port) as association:
        assert kit.store(association, data) == (0x0000, None)


def test_a_report_of_storage_commitment_is_kept(door, kit):
    node = door()
    asked = [build_context(PUSH_MODEL)]
    role = [build_role(PUSH_MODEL, scu_role=False, scp_role=True)]
    event_type, information = event_for(
        "1.2.3.99", [(CTImageStorage, "1.2.3.4.1")], {(CTImageStorage, "1.2.3.4.2"): 274}
    )
    with (
        kit.receiving(node) as receiver,
        kit.calling(receiver.port, contexts=asked, ext_neg=role) as association,
    ):
        status, _ = association.send_n_event_report(information, event_type, PUSH_MODEL, PUSH_MODEL_INSTANCE)
        assert status.Status == 0x0000
        del information.TransactionUID
        status, _ = association.send_n_event_report(information, event_type, PUSH_MODEL, PUSH_MODEL_INSTANCE)
        assert status.Status == 0x0110
    ((_, report),) = Reports(node.folder).waiting()
    assert (report.transaction_uid, report.committed) == ("1.2.3.99", {"1.2.3.4.1"})
    assert report.failed == {"1.2.3.4.2": "0112H: it does not have the instance"}


def test_who_only_reports_what_it_keeps_may_send_nothing(door, kit):
    archive = {"aet": "ARCHIVE", "host": "127.0.0.1", "port": 104, "verify": "commitment"}
    told = []
    node = door(node={"port": 11112}, peers={"archive": archive})
    node.configuration = node.configuration.model_copy(
        update={"node": node.configuration.node.model_copy(update={"port": None})}  # any that is free
    )
    asked = [*CT_AND_ECHO, build_context(PUSH_MODEL)]
    role = [build_role(PUSH_MODEL, scu_role=True, scp_role=True)]
    event_type, information = event_for("1.2.3.99", [(CTImageStorage, "1.2.3.4.1")], {})
    with (
        kit.receiving(node, told=told.append) as receiver,
        kit.calling(receiver.port, aet="ARCHIVE", contexts=asked, ext_neg=role) as association,
    ):
        comment = "it may not send: its peer in pacs.toml has no may_send = true"
        assert kit.store(association, kit.data_set_of(kit.file())) == (0x0124, comment)
        assert association.send_c_echo().Status == 0x0000
        status, _ = association.send_n_event_report(information, event_type, PUSH_MODEL, PUSH_MODEL_INSTANCE)
        assert status.Status == 0x0000
        status, _ = association.send_n_action(information, 1, PUSH_MODEL, PUSH_MODEL_INSTANCE)
        assert status.Status == 0x0124
    assert told == ["0124"]
    assert [report.transaction_uid for _, report in Reports(node.folder).waiting()] == ["1.2.3.99"]
    assert node.sources() == []


WHO = ("-aet", "SCANNER", "-aec", "CLEARSLICE")


def run(*command):
    done = subprocess.run([str(part) for part in command], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.peer
def test_what_dcmtk_sends_in_every_syntax_that_it_can_make(door, kit, tmp_path):
    made = {
        "dcmcjpeg": {"sv1": ["+e1", "+un"], "lossless": ["+el", "+un"]},
        "dcmcjpls": {"lossless": ["+el", "+un"], "near": ["+en", "+md", "1", "+un"]},
        "dcmcrle": {"rle": []},
        "dcmconv": {"implicit": ["+ti"], "big": ["+tb"], "deflated": ["+td"]},
    }
    for program in ("storescu", *made):
        if shutil.which(program) is None:
            pytest.skip(f"{program} (Debian package dcmtk) is not installed")
    node = door()
    pixels = np.random.default_rng(1).integers(0, 2500, (12, 16)).astype(np.uint16)
    source = tmp_path / "source.dcm"
    files = {}
    for program, ways in made.items():
        for name, options in ways.items():
            uid = f"1.2.3.4.{len(files) + 1}"
            source.write_bytes(kit.file(pixels, SOPInstanceUID=uid))
            path = tmp_path / f"{program}{name}.dcm"
            run(program, *options, source, path)
            files[uid] = path
    with kit.receiving(node) as receiver:
        for path in files.values():
            syntax = dcmread(path).file_meta.TransferSyntaxUID
            profile = profile_of(tmp_path, syntax)
            run("storescu", *WHO, "-xf", profile, "One", "127.0.0.1", receiver.port, path)
        run("echoscu", *WHO, "127.0.0.1", receiver.port)
    for uid, path in files.items():
        # storescu pads what dcmconv has deflated to an even length
        assert kit.data_set_of(node.source(uid)).rstrip(b"\0") == kit.data_set_of(path.read_bytes()).rstrip(b"\0")


def profile_of(folder, syntax):
    """A configuration of storescu that proposes CT images in one syntax."""
    path = folder / "storescu.cfg"
    path.write_text(
        "[[TransferSyntaxes]]\n[One]\nTransferSyntax1 = " + syntax + "\n"
        "[[PresentationContexts]]\n[Ct]\nPresentationContext1 = CTImageStorage\\One\n"
        "[[Profiles]]\n[One]\nPresentationContexts = Ct\n",
        encoding="ascii",
    )
    return path

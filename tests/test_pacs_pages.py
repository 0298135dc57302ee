"""docs/pacs.md and docs/dicom-conformance.md say what the node does: examples can be read, no field is missing."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from pydicom.uid import UID

from imaging.compressed_pixels import COMPRESSED_SYNTAXES
from imaging.stored_values import NATIVE_SYNTAXES
from service.pacs import statuses
from service.pacs.arrivals import TAKEN_CLASSES
from service.pacs.configuration import Node, Peer, Rule, parse_configuration, read_configuration

ROOT = Path(__file__).parent.parent
DOCS, DEPLOY = ROOT / "docs", ROOT / "deploy"
PACS = (DOCS / "pacs.md").read_text(encoding="utf-8")
CONFORMANCE = (DOCS / "dicom-conformance.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```toml\n(.*?)```", PACS, re.DOTALL)

OF_A_WAY = {"aet", "host", "port", "url", "folder", "username", "password_file", "token_file", "ask"}
"""Fields of a peer that the page explains in an example or a sentence instead of the table."""


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split("\n", 1)[0])
def test_an_example_can_be_read(block, tmp_path):
    found = parse_configuration(tomllib.loads(block), folder=tmp_path)
    assert found.model_fields_set


def test_the_example_of_the_compose_file_and_its_orthanc_know_each_other():
    node = read_configuration(DEPLOY / "pacs.toml")
    orthanc = json.loads((DEPLOY / "orthanc.json").read_text(encoding="utf-8"))
    (known,) = orthanc["DicomModalities"].values()
    assert (known["AET"], known["Port"]) == (node.node.aet, node.node.port)
    assert node.peers["orthanc"].aet == orthanc["DicomAet"]
    assert node.peers["orthanc"].port == orthanc["DicomPort"]
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]
    assert {known["Host"], node.peers["orthanc"].host} <= compose.keys()


@pytest.mark.parametrize(
    ("model", "left_out"), [(Node, set()), (Peer, OF_A_WAY), (Rule, {"name"})], ids=["node", "peer", "rule"]
)
def test_every_field_is_explained(model, left_out):
    for field in set(model.model_fields) - left_out:
        assert f"`{field}`" in PACS, field
    for field in left_out:
        assert field in PACS, field


def test_the_defaults_of_the_tables_are_true():
    node, peer = Node(), Peer(folder="x")
    assert f"| {node.associations}, {node.pdu_bytes}, {node.idle_seconds:g} |" in PACS
    assert f"| {node.quiet_seconds:g}, {node.longest_seconds:g} |" in PACS
    assert (node.reserve, node.retention_seconds, node.remember_days) == (1 << 30, 24 * 3600, 90)
    assert (peer.retry_seconds, peer.give_up_seconds) == (10, 3 * 24 * 3600)
    assert (peer.timeout_seconds, peer.verify_seconds) == (60, 3600)


def test_the_conformance_statement_lists_what_is_taken():
    for sop_class in TAKEN_CLASSES:
        assert UID(sop_class).name in CONFORMANCE
    text = " ".join(CONFORMANCE.split())
    for syntax in {*NATIVE_SYNTAXES, *COMPRESSED_SYNTAXES}:
        number = f".{syntax.rpartition('.')[2]}"
        assert UID(syntax).name in text or number in text, syntax.name
    for name in ("SUCCESS", "OUT_OF_RESOURCES", "NOT_AS_ANNOUNCED", "CANNOT_UNDERSTAND", "CLASS_NOT_SUPPORTED"):
        assert f"| {getattr(statuses, name):04X} |" in CONFORMANCE
    for name in ("NOT_AUTHORIZED", "PROCESSING_FAILURE"):
        assert f"| {getattr(statuses, name):04X} |" in CONFORMANCE

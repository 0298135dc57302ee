"""The part [audit] of pacs.toml, by itself and as a part of the whole."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import BaseModel, ValidationError

from service.pacs.audit.settings import Audit


class Whole(BaseModel):
    """As `service.pacs.configuration` has it."""

    audit: Audit | None = None


def test_files_lie_beside_the_configuration(tmp_path):
    table = {
        "syslog": "tls://audit.example.org",
        "tls": {"certificate": "node.pem", "key": "node.key", "authority": "/etc/ca.pem"},
    }
    read = Whole.model_validate({"audit": table}, context={"folder": tmp_path}).audit
    assert (read.tls.certificate, str(read.tls.authority)) == (tmp_path / "node.pem", "/etc/ca.pem")
    read = Whole.model_validate({"audit": {"file": "audit.log"}}, context={"folder": tmp_path}).audit
    assert read == Audit(file=tmp_path / "audit.log")


@pytest.mark.parametrize(
    ("table", "place", "message"),
    [
        ({}, (), "either file or syslog"),
        ({"file": "a", "syslog": "udp://h"}, (), "either file or syslog"),
        ({"syslog": "http://h"}, ("syslog",), "is no collector"),
        ({"syslog": "udp://h", "tls": {}}, (), "begins with tls://"),
        ({"file": "a", "tls": {}}, (), "begins with tls://"),
        ({"syslog": "tls://h", "tls": {"certificate": "a"}}, ("tls",), "belong together"),
        ({"syslog": "tls://h", "tls": {"other": "a"}}, ("tls", "other"), "Extra inputs"),
        ({"file": "a", "site": ""}, ("site",), "at least 1"),
        ({"file": "a", "other": 1}, ("other",), "Extra inputs"),
    ],
)
def test_mistakes_are_told_with_their_place(table, place, message):
    with pytest.raises(ValidationError, match=message) as caught:
        Audit.model_validate(table)
    assert caught.value.errors()[0]["loc"] == place


@pytest.mark.parametrize("first", ["audit.settings", "audit.trail", "configuration"])
def test_imports_go_in_any_order(first):
    program = f"import service.pacs.{first}; from service.pacs.audit.settings import Audit; Audit(file='a')"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)

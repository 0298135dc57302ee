"""`clearslice keys`: a key is printed once and its hash is kept; a file is checked as the server reads it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from clearslice.commands.keys import ScopeOption
from clearslice.main import app
from service.keys import Scope, digest_of
from service.keys_file import read_keys


def run(*arguments):
    return CliRunner().invoke(app, ["keys", *map(str, arguments)])


def test_the_key_is_alone_on_standard_output_and_its_line_on_standard_error():
    result = run("new", "--name", "pacs", "--scope", "reconstruct", "--scope", "admin")
    assert result.exit_code == 0
    key = result.stdout.removesuffix("\n")
    assert key.startswith("clearslice_")
    assert len(key.split()) == 1
    assert f"pacs  admin,reconstruct  sha256:{digest_of(key.encode()).hex()}" in result.stderr
    assert key not in result.stderr


def test_a_file_is_made_and_appended_to(tmp_path):
    path = tmp_path / "keys"
    first = run("new", "--name", "pacs", "--scope", "reconstruct", "--file", path).stdout.strip()
    path.write_text(path.read_text() + "# by hand, without a newline at the end")
    second = run("new", "--name", "prometheus", "--scope", "read", "--file", path).stdout.strip()
    ring = read_keys(path)
    assert [ring.find(key.encode()).name for key in (first, second)] == ["pacs", "prometheus"]
    assert first not in path.read_text()
    checked = run("check", path)
    assert checked.stdout.splitlines() == ["pacs  reconstruct", "prometheus  read"]


def test_a_name_twice_changes_nothing(tmp_path):
    path = tmp_path / "keys"
    run("new", "--name", "pacs", "--scope", "reconstruct", "--file", path)
    before = path.read_bytes()
    result = run("new", "--name", "pacs", "--scope", "read", "--file", path)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "name was used" in result.stderr
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("new", "--name", "Doe^Jane", "--scope", "read"),
        ("new", "--name", "pacs", "--scope", "everything"),
        ("new", "--name", "pacs"),
        ("new", "--scope", "read"),
    ],
)
def test_usage_errors(arguments):
    assert run(*arguments).exit_code == 2


def test_a_file_with_a_mistake_names_the_line(tmp_path):
    path = tmp_path / "keys"
    path.write_text("# keys\npacs everything sha256:00\n")
    result = run("check", path)
    assert result.exit_code == 1
    assert "line 2" in " ".join(result.stderr.split())
    assert run("check", tmp_path / "none").exit_code == 1
    assert run("new", "--name", "a", "--scope", "read", "--file", tmp_path / "no" / "folder").exit_code == 1


def test_the_options_are_the_scopes():
    assert [option.value for option in ScopeOption] == [scope.value for scope in Scope]


def test_help_teaches_and_loads_nothing_heavy():
    result = run("--help")
    for word in ("--scope reconstruct", "Authorization: Bearer", "CLEARSLICE_API_KEYS_FILE"):
        assert word in result.output
    code = (
        "import sys, clearslice.commands.keys\n"
        "heavy = {'tensorflow', 'fastapi', 'pydantic', 'structlog', 'service'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

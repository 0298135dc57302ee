"""`clearslice serve`: options over the environment, refusals, and what it loads."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from clearslice.commands.serve import serve
from service.settings import Settings

app = typer.Typer()
app.command()(serve)


@pytest.fixture
def started(monkeypatch):
    """The settings that a server was started with."""
    found: list[Settings] = []
    monkeypatch.setattr("service.server.run", found.append)
    return found


def run(*arguments, **environment):
    return CliRunner().invoke(app, list(arguments), env=environment)


def test_options_win_over_the_environment(started, tmp_path):
    result = run(
        "--port", "9000", "--store", str(tmp_path), "--precision", "float32", "--preload", "a@1,b",
        CLEARSLICE_PORT="7000", CLEARSLICE_MAX_PIXELS="1234", CLEARSLICE_DEVICE="cpu",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    (settings,) = started
    assert (settings.port, settings.max_pixels, settings.device) == (9000, 1234, "cpu")
    assert (settings.store, settings.precision, settings.preload) == (tmp_path, "float32", ("a@1", "b"))
    assert settings.host == "127.0.0.1"


def test_an_impossible_setting_is_named(started):
    result = run(CLEARSLICE_MAX_QUEUE="many")
    assert result.exit_code == 2
    assert "CLEARSLICE_MAX_QUEUE" in result.output
    assert not started


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"CLEARSLICE_HOST": "0.0.0.0"}, "CLEARSLICE_ALLOW_ANONYMOUS=1"),  # noqa: S104 - the point of the test
        ({"WEB_CONCURRENCY": "2"}, "WEB_CONCURRENCY is 2"),
    ],
)
def test_what_would_expose_the_service_is_refused(environment, reason):
    result = run("--port", "0", **environment)
    assert result.exit_code == 1
    assert reason in " ".join(result.output.split())


def test_a_missing_tensorflow_names_the_extra(started, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    result = run()
    assert result.exit_code == 1
    assert "extra" in result.output
    assert not started


def test_help_shows_every_option():
    result = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"})
    for option in ("--host", "--port", "--store", "--preload", "--precision", "--device", "--log-level"):
        assert option in result.output


def test_the_module_loads_nothing_heavy():
    code = (
        "import sys, clearslice.commands.serve, clearslice.commands.reconstruct\n"
        "heavy = {'tensorflow', 'fastapi', 'numpy', 'pydicom', 'pydantic', 'uvicorn'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

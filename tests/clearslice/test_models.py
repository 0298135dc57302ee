import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from clearslice.commands.models import app
from model_store.manifest import Contract, Score
from model_store.store import ModelStore


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    monkeypatch.delenv("CLEARSLICE_STORE", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    # Only what a test publishes: a shipped model would change the tables.
    monkeypatch.setattr("model_store.store.PUBLISHED", tmp_path / "nothing published")


@pytest.fixture
def store(tiny_store):
    """tiny-smooth@1, which is stable and the default."""
    return tiny_store("smooth")


@pytest.fixture
def scored(store, tiny_export, tiny_draft):
    """tiny-smooth@1, and tiny-smooth@2, which has a score."""
    contract = Contract(name="soft tissue", low=-160, high=240, unit="HU")
    score = Score(
        metric="ssim",
        contract=contract,
        degradation="quarter dose",
        restored=0.91,
        degraded=0.7239,
        interval=(0.9, 0.92),
        interval_method="bootstrap over patients",
        patients=3,
        images=120,
    )
    store.publish(tiny_export("smooth").path, tiny_draft(scores=(score,)), verifier=lambda _: None)
    return store


def run(*arguments, store=None, answer=None):
    option = [] if store is None else ["--store", str(store.writable)]
    result = CliRunner().invoke(app, [*arguments, *option], input=answer)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_list_shows_every_version_with_labels_size_and_score(scored):
    result = run("list", store=scored)
    assert result.exit_code == 0
    first, second = [line for line in result.stdout.splitlines() if "tiny-smooth@" in line]
    assert [cell.strip() for cell in first.strip("│").split("│")][:6] == [
        "tiny-smooth@1 *",
        "stable",
        "ct",
        "none",
        "",
        "9",
    ]
    assert "ssim 0.7239 -> 0.91" in second
    assert "kB" in second


def test_list_as_json(scored):
    listed = json.loads(run("list", "--json", store=scored).stdout)
    assert listed["default"] == "tiny-smooth@stable"
    first, second = listed["versions"]
    folder = scored.resolve("tiny-smooth@1").path
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert first == {
        "ref": "tiny-smooth@1",
        "labels": ["stable"],
        "domain": "ct",
        "recipe": "none",
        "parameters": 9,
        "bytes": size,
        "score": None,
    }
    assert second["score"] == {
        "metric": "ssim",
        "contract": "soft tissue",
        "degradation": "quarter dose",
        "restored": 0.91,
        "degraded": 0.7239,
    }


def test_list_shows_damage_and_what_is_whole(scored):
    (scored.writable / "tiny-smooth" / "2" / "manifest.json").write_text("{}")
    (scored.writable / "other").mkdir()
    (scored.writable / "other" / "labels.json").write_text("{")
    (scored.writable / "tiny-smooth" / "1").rename(scored.writable / "other" / "1")
    listed = json.loads(run("list", "--json", store=scored).stdout)["versions"]
    assert [(row["ref"], "refused" in row) for row in listed] == [("other", True), ("tiny-smooth@2", True)]
    assert "refused: " in run("list", store=scored).stdout


def test_an_empty_list_says_what_to_do(tmp_path):
    result = run("list", store=ModelStore(tmp_path))
    assert (result.exit_code, result.stdout) == (0, "")
    assert "clearslice train" in result.stderr
    assert json.loads(run("list", "--json", store=ModelStore(tmp_path)).stdout) == {"default": None, "versions": []}


def test_show_prints_manifest_and_card(store):
    output = run("show", "tiny-smooth", store=store).stdout
    manifest, end = json.JSONDecoder().raw_decode(output)
    assert (manifest["name"], manifest["version"]) == ("tiny-smooth", 1)
    assert output[end:].strip() == "# A tiny model for tests\n\nIt restores nothing."


def test_verify_reports_hashes_and_golden_sample(store):
    result = run("verify", "tiny-smooth@1", store=store)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "tiny-smooth@1: all 6 files are as published"
    assert lines[1].startswith("tiny-smooth@1: float32 on CPU:0: largest deviation ")
    assert lines[2].startswith("tiny-smooth@1: bfloat16 on CPU:0: largest deviation ")


def test_verify_names_the_changed_file(store):
    with (store.writable / "tiny-smooth" / "1" / "README.md").open("a") as file:
        file.write("better")
    result = run("verify", "tiny-smooth@1", store=store)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("clearslice: tiny-smooth@1: the file 'README.md' was changed")
    assert len(result.stderr.splitlines()) == 1


def test_promote_and_default(scored):
    result = run("promote", "tiny-smooth@2", "stable", store=scored)
    assert (result.exit_code, result.stdout) == (0, "tiny-smooth@stable is now tiny-smooth@2\n")
    assert scored.resolve("tiny-smooth").version == 2
    result = run("default", "tiny-smooth@1", store=scored)
    assert result.stdout == "the default model is now tiny-smooth@1 (at present tiny-smooth@1)\n"
    assert scored.default_ref() == "tiny-smooth@1"


def test_remove_asks_first(scored):
    result = run("remove", "tiny-smooth@2", store=scored, answer="n\n")
    assert result.exit_code == 1
    assert "Delete tiny-smooth@2" in result.stdout
    assert scored.versions("tiny-smooth") == [1, 2]
    assert run("remove", "tiny-smooth@2", store=scored, answer="y\n").exit_code == 0
    assert scored.versions("tiny-smooth") == [1]


def test_remove_with_yes_does_not_ask_but_keeps_what_is_in_use(scored):
    assert run("remove", "tiny-smooth@2", "--yes", store=scored).stdout == "tiny-smooth@2 is deleted\n"
    result = run("remove", "tiny-smooth@1", "--yes", store=scored)
    assert result.exit_code == 1
    assert result.stderr.startswith("clearslice: tiny-smooth@1 is stable; promote another version")
    assert scored.versions("tiny-smooth") == [1]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["show", "tiny-rough"], 1, "clearslice: there is no model 'tiny-rough'; there is tiny-smooth"),
        (["show", "tiny-smooth@7"], 1, "clearslice: tiny-smooth has no version 7; it has 1"),
        (["show", "../../etc"], 2, "clearslice: '../../etc' is no model ref"),
        (["promote", "tiny-smooth", "7"], 2, "clearslice: '7' is no label"),
        (["default", "tiny-smooth@canary"], 1, "clearslice: tiny-smooth has no label 'canary'; it has stable"),
        (["remove", "tiny-smooth", "--yes"], 2, "name the version to delete by its number, as in tiny-smooth@3"),
        (["remove", "tiny-smooth@stable", "--yes"], 2, "name the version to delete by its number"),
        (["show"], 2, "Missing argument 'REF'"),
    ],
)
def test_what_goes_wrong_is_told_in_words(store, arguments, status, message):
    result = run(*arguments, store=store)
    assert result.exit_code == status
    assert result.stdout == ""
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_the_store_may_come_from_the_environment(store, monkeypatch):
    monkeypatch.setenv("CLEARSLICE_STORE", str(store.writable))
    assert "tiny-smooth@1" in run("list").stdout


def test_reading_needs_no_store_and_writing_says_what_to_set(monkeypatch, store):
    monkeypatch.setattr("model_store.store.PUBLISHED", store.writable)
    assert "tiny-smooth@1" in run("list").stdout
    result = run("promote", "tiny-smooth@1", "canary")
    assert result.exit_code == 1
    assert "read-only: name a folder to write to, with --store DIR or the variable CLEARSLICE_STORE" in result.stderr
    assert store.labels("tiny-smooth") == {"stable": 1}


def test_a_store_to_read_must_exist_and_one_to_write_is_made(monkeypatch, store, tmp_path):
    monkeypatch.setattr("model_store.store.PUBLISHED", store.writable)
    own = ModelStore(tmp_path / "own", store.writable)
    result = run("list", store=own)
    assert result.exit_code == 2
    assert "does not exist" in result.stderr
    assert run("promote", "tiny-smooth@1", "canary", store=own).exit_code == 0
    assert own.labels("tiny-smooth") == {"canary": 1, "stable": 1}
    assert store.labels("tiny-smooth") == {"stable": 1}


def test_help_loads_nothing_heavy():
    program = (
        "import sys\nfrom clearslice.commands import models\n"
        "print([name for name in ('tensorflow', 'numpy', 'pydantic', 'model_store.store') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("command", ["list", "show", "verify", "promote", "default", "remove"])
def test_every_command_explains_itself_and_its_store(command):
    output = run(command, "--help").stdout
    assert "--store" in output
    assert "CLEARSLICE_STORE" in output

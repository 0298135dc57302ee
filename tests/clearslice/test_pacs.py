"""`clearslice pacs`: what is configured, what would happen, what happened, and what to do about it."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file
from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage, Verification
from typer.testing import CliRunner

from clearslice.commands import pacs
from clearslice.main import app
from service.pacs.arrivals import Arrivals, Presence, folder_of
from service.pacs.configuration import Configuration, Rule
from service.pacs.job_folder import create_job
from service.pacs.record import Delivery, Ended, PacsJob, Restored
from service.pacs.requests import AdminRequests
from service.settings import Settings

CT = get_testdata_file("CT_small.dcm")
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
RULES = """
[[rules]]
name = "sharp"
kernel = "B70*"
to = "archive"

[[rules]]
name = "rest"
action = "keep"
"""


def run(*arguments, **environment):
    wide = {"COLUMNS": "300"}  # no line is broken, however long a path is
    return CliRunner().invoke(app, ["pacs", *map(str, arguments)], env=wide | environment)


@pytest.fixture
def archive():
    """A storage service on loopback: its port, and the files that it was sent."""
    taken = []
    entity = AE(ae_title="ARCHIVE")
    entity.add_supported_context(Verification)
    entity.add_supported_context(CTImageStorage)

    def store(event):
        taken.append(event.encoded_dataset(include_meta=False))
        return 0

    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    yield server.server_address[1], taken
    server.shutdown()


@pytest.fixture
def config(tmp_path, archive):
    place = tmp_path / "pacs.toml"
    place.write_text(
        f'[node]\nport = 11112\n[peers.archive]\naet = "ARCHIVE"\nhost = "127.0.0.1"\nport = {archive[0]}\n{RULES}',
        encoding="utf-8",
    )
    return place


@pytest.fixture
def spool(tmp_path):
    """A spool with a dead letter and an instance in quarantine."""
    arrivals = Arrivals(
        folder_of(tmp_path / "spool"), Configuration(rules=(Rule(name="all", action="keep"),)), Settings()
    )
    job = PacsJob(id="a" * 32, study="1.2", series="1.2.3", created=NOW, begun=NOW, rule="all", model="ct-l2@3",
                  uids=("1.2.3.1", "1.2.3.2"), peers=("out",))  # fmt: skip
    series = arrivals.series("1.2.3")
    series.folder.mkdir()
    ended = Ended(state="dead", finished=NOW, problem={"detail": "out: it does not know us"})
    folder = create_job(arrivals.incoming(), series, job, ended)
    folder.write_restored(
        Restored(finished=NOW, series="2.25.1", instances={1: "2.25.2", 2: "2.25.3"}, sop_class=CTImageStorage,
                 precision="float32", reencoded=False, clipped=0, warned=0)
    )  # fmt: skip
    folder.write_delivery(Delivery(peer="out", state="dead", reason="it does not know us"))
    data = Path(CT).read_bytes()
    arrivals.take(data, sender="CT01", presence=Presence())
    arrivals.take(data.replace(b"CompressedSamples", b"CompressedExample"), sender="CT01", presence=Presence())
    return tmp_path / "spool"


def test_check_says_what_is_configured(config):
    done = run("check", config)
    assert done.exit_code == 0
    assert "node CLEARSLICE takes associations on 127.0.0.1:11112" in done.output
    assert "peer archive: dimse ARCHIVE@127.0.0.1:" in done.output
    assert "rule 1 'sharp': the default model -> archive" in done.output
    assert "rule 2 'rest': keep" in done.output
    assert "what no rule fits is refused" in done.output


def test_check_asks_every_peer(config):
    done = run("check", "--echo", config)
    assert (done.exit_code, "peer archive answers, in" in done.output) == (0, True)


def test_check_tells_of_a_peer_that_is_not_there(config, archive):
    config.write_text(config.read_text().replace(f"port = {archive[0]}", "port = 9"), encoding="utf-8")
    done = run("check", "--echo", config)
    assert done.exit_code == 1
    assert "peer archive: " in done.output


def test_check_says_what_is_wrong(config):
    config.write_text(config.read_text().replace('to = "archive"', 'to = "nobody"'), encoding="utf-8")
    done = run("check", config)
    assert done.exit_code == 1
    assert "rule 'sharp': to names 'nobody', and there is no such peer" in " ".join(done.output.split())


def test_explain_says_which_rule_and_why(config):
    done = run("explain", CT, "--config", config)
    assert done.exit_code == 0
    assert "rule 'rest': keep" in done.output
    assert "rule 'sharp' does not fit: ConvolutionKernel is " in done.output


def test_explain_of_what_is_no_series(config, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "text").write_text("text", encoding="utf-8")
    done = run("explain", tmp_path / "folder", "--config", config)
    assert done.exit_code == 1


def test_the_configuration_can_be_named_in_the_environment(config):
    assert run("explain", CT, CLEARSLICE_PACS=str(config)).exit_code == 0
    assert run("explain", CT).exit_code == 2


def test_status_lists_series_and_counts_instances(spool):
    done = run("status", "--spool", spool)
    assert done.exit_code == 0
    assert f"{'a' * 32}  dead  2/2 by ct-l2@3, rule 'all', series 1.2.3" in done.output
    assert "to out: dead: it does not know us" in done.output
    assert "instances: 2 dead, 1 arriving, 1 quarantined" in done.output


def test_status_for_programs(spool):
    found = json.loads(run("status", "--spool", spool, "--json", "--state", "dead").output)
    assert [job["id"] for job in found["jobs"]] == ["a" * 32]
    assert json.loads(run("status", "--spool", spool, "--json", "--state", "kept").output)["jobs"] == []


def test_requeue_waits_for_the_server(spool, monkeypatch):
    requests = AdminRequests(folder_of(spool))
    asked = []

    def server():
        while not asked:
            for place, request in requests.waiting():
                asked.append(request)
                place.unlink()

    thread = threading.Thread(target=server)
    thread.start()
    done = run("requeue", "--all", "--spool", spool)
    thread.join()
    assert (done.exit_code, done.output) == (0, "1 requeued\n")
    assert (asked[0].what, asked[0].job) == ("requeue", "a" * 32)
    monkeypatch.setattr(pacs, "PATIENCE_SECONDS", 0.05)
    done = run("discard", "a" * 32, "--spool", spool)
    assert "1 wait until a server runs with this spool" in done.output


def test_what_the_server_refuses_is_told_with_its_reason(spool):
    requests = AdminRequests(folder_of(spool))
    asked = []

    def server():
        while not asked:
            for place, request in requests.waiting():
                asked.append(request)
                requests.refuse(place, "the disk is full")

    thread = threading.Thread(target=server)
    thread.start()
    done = run("requeue", "a" * 32, "--spool", spool)
    thread.join()
    assert done.exit_code == 1
    assert done.output == f"0 requeued\n{'a' * 32} is not requeued: the disk is full\n"
    assert not list(spool.rglob("*.refused"))


def test_what_was_discarded_is_shown_and_not_requeued(spool):
    place = folder_of(spool) / "series" / "1.2.3" / "jobs" / ("a" * 32) / "ended.json"
    place.write_text(Ended(state="dead", finished=NOW, tidied=True).model_dump_json(), encoding="utf-8")
    done = run("status", "--spool", spool)
    assert f"{'a' * 32}  discarded  2/2" in done.output
    assert "instances: 2 discarded, 1 arriving" in done.output
    assert "a" * 32 in run("status", "--state", "discarded", "--spool", spool).output
    done = run("requeue", "--all", "--spool", spool)
    assert (done.exit_code, done.output) == (0, "0 requeued\n")
    assert run("requeue", "a" * 32, "--spool", spool).exit_code == 2


def test_requeue_of_what_has_not_failed(spool):
    done = run("requeue", "b" * 32, "--spool", spool)
    assert done.exit_code == 2
    assert "no series that has failed" in " ".join(done.output.split())


def test_quarantine(spool, tmp_path):
    listed = run("quarantine", "list", "--spool", spool).output
    identity = listed.split()[0]
    assert "an instance of this UID with other content" in listed
    assert run("quarantine", "fetch", identity, tmp_path / "out.dcm", "--spool", spool).exit_code == 0
    assert b"CompressedExample" in (tmp_path / "out.dcm").read_bytes()
    assert run("quarantine", "fetch", "../x", tmp_path / "other.dcm", "--spool", spool).exit_code == 1
    assert run("quarantine", "discard", identity, "--spool", spool).exit_code == 0
    assert run("quarantine", "list", "--spool", spool).output == ""


def test_a_spool_without_a_node(tmp_path):
    done = run("status", "--spool", tmp_path)
    assert done.exit_code == 2
    assert "has no PACS node in it" in " ".join(done.output.split())


def test_send_says_what_was_taken(config, archive, tmp_path):
    done = run("send", CT, "archive", "--config", config)
    assert done.exit_code == 0
    assert "1 taken" in done.output
    assert Path(CT).read_bytes().endswith(archive[1][0])
    (tmp_path / "empty").mkdir()
    assert run("send", tmp_path / "empty", "archive", "--config", config).exit_code == 2
    assert run("send", CT, "nobody", "--config", config).exit_code == 2


@pytest.mark.parametrize("command", [("send", CT, "archive"), ("reconstruct", "archive", "1.2", "--to", "archive")])
def test_nothing_with_an_identity_goes_to_a_peer_that_must_not_have_any(config, archive, command):
    text = config.read_text(encoding="utf-8").replace('aet = "ARCHIVE"', 'aet = "ARCHIVE"\ndeidentify = true')
    config.write_text(text, encoding="utf-8")
    done = run(*command, "--config", config)
    assert done.exit_code == 2
    assert "without identities only" in " ".join(done.output.split())
    assert not archive[1]


def test_pull_needs_a_peer_with_a_url(config, tmp_path):
    done = run("pull", "archive", "1.2", tmp_path / "out", "--config", config)
    assert done.exit_code == 2
    assert "no DICOMweb peer" in " ".join(done.output.split())


def test_listen_without_a_port(config, tmp_path):
    config.write_text(config.read_text().replace("[node]\nport = 11112\n", ""), encoding="utf-8")
    done = run("listen", "--config", config, "--spool", tmp_path / "spool")
    assert done.exit_code == 1
    assert "names no port for the node" in " ".join(done.output.split())

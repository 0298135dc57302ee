"""The parts of deploy/orthanc/auto_route.py, with a module in the place of Orthanc's."""

# ruff: noqa: N802 - some names are Orthanc's

from __future__ import annotations

import datetime as dt
import email.utils
import importlib.util
import ipaddress
import json
import re
import socket
import sqlite3
import ssl
import stat
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from service.dicom.identity import MANUFACTURER
from service.pacs.configuration import parse_configuration
from service.settings import Settings

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy" / "orthanc" / "auto_route.py"
PAGE = (ROOT / "docs" / "orthanc.md").read_text(encoding="utf-8")
KEY = "a-key-that-no-log-shows"
NOW = 1_700_000_000.0
PATIENCE = 10.0


class FakeOrthanc:
    """What the script uses of the module `orthanc`, and an index to hold in one's hands.

    Attributes:
        configuration: of it.
        series: identifier -> (main tags, SOPInstanceUIDs, whether it is stable).
        changes: (type, identifier), from sequence number 1.
        fails: paths whose request fails, as when the index is busy.
        asked: paths, in turn.
        log: lines.
        callbacks, routes: what was registered.
    """

    class OrthancException(Exception):
        pass

    class ErrorCode:
        UNKNOWN_RESOURCE = 17

    class ChangeType:
        NEW_INSTANCE, STABLE_SERIES, ORTHANC_STARTED, ORTHANC_STOPPED = 3, 8, 10, 11

    def __init__(self, folder):
        self.folder = folder
        self.configuration = {
            "StorageDirectory": ".",
            "Clearslice": {"Url": "http://127.0.0.1:9", "KeyFile": "api-key", "Peer": "orthanc"},
        }
        self.series, self.changes, self.fails, self.asked = {}, [], set(), []
        self.log, self.callbacks, self.routes = [], [], {}
        (folder / "api-key").write_text(KEY + "\n")

    def GetConfiguration(self):
        return json.dumps(self.configuration)

    def GetConfigurationPath(self):
        return str(self.folder / "orthanc.json")

    def RegisterOnChangeCallback(self, callback):
        self.callbacks.append(callback)

    def RegisterRestCallback(self, path, callback):
        self.routes[path] = callback

    def LogInfo(self, line):
        self.log.append(("info", line))

    def LogWarning(self, line):
        self.log.append(("warning", line))

    def LogError(self, line):
        self.log.append(("error", line))

    def RestApiGet(self, path):
        self.asked.append(path)
        if path in self.fails:
            raise self.OrthancException(11, "Database is locked")
        where, _, query = path.partition("?")
        if where == "/changes":
            return json.dumps(self._changes(query)).encode()
        _, _, identifier, *rest = where.split("/")
        if identifier not in self.series:
            raise self.OrthancException(17, "Unknown resource")
        tags, instances, stable = self.series[identifier]
        if rest == ["study"]:
            return json.dumps({"MainDicomTags": {"StudyInstanceUID": "1.2.9"}}).encode()
        if rest == ["instances"]:
            return json.dumps([{"MainDicomTags": {"SOPInstanceUID": uid}} for uid in instances]).encode()
        return json.dumps({"ID": identifier, "IsStable": stable, "MainDicomTags": tags}).encode()

    def _changes(self, query):
        if query == "last":
            return {"Changes": [], "Done": True, "Last": len(self.changes)}
        parts = dict(part.split("=") for part in query.split("&"))
        since, limit = int(parts["since"]), int(parts["limit"])
        found = [{"ChangeType": kind, "ID": identifier} for kind, identifier in self.changes[since : since + limit]]
        return {
            "Changes": found,
            "Done": since + limit >= len(self.changes),
            "Last": since + len(found) if found else len(self.changes),
        }

    def RestApiPost(self, path, body):
        assert path == "/tools/bulk-content"
        asked = json.loads(body)
        assert asked["Level"] == "Series"
        found = dict.fromkeys(identifier.split("/")[0] for identifier in asked["Resources"])
        return json.dumps([{"ID": identifier} for identifier in found if identifier in self.series]).encode()

    def comes(self, name, instances, *, stable=True, **tags):
        """Instances come; the series becomes stable, and Orthanc says so, unless it is not."""
        usual = {"SeriesInstanceUID": f"1.2.{len(name)}", "Modality": "CT", "Manufacturer": "Acme"}
        self.series[name] = (usual | tags, instances, stable)
        self.changes += [("NewInstance", f"{name}/{uid}") for uid in instances]
        if stable:
            self.changes.append(("StableSeries", name))


@pytest.fixture
def orthanc(tmp_path, monkeypatch):
    made = FakeOrthanc(tmp_path)
    monkeypatch.setitem(sys.modules, "orthanc", made)
    yield made
    assert all(KEY not in line for _, line in made.log)


@pytest.fixture
def load(orthanc, monkeypatch):  # noqa: ARG001 - which must be there
    """Loads the script as Orthanc does; queues are closed at the end."""
    made = []

    def loaded():
        spec = importlib.util.spec_from_file_location("auto_route", SCRIPT)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "auto_route", module)
        spec.loader.exec_module(module)
        made.append(module)
        return module

    yield loaded
    for module in made:
        if module.ROUTER is not None:
            module.ROUTER.stop()
            module.ROUTER._queue.close()


@pytest.fixture
def script(load):
    return load()


@pytest.fixture
def queue(script, tmp_path):
    made = script.Queue(tmp_path / "queue.sqlite3")
    yield made
    made.close()


class Site:
    """A router at a queue, a server whose answers can be set, and a clock."""

    def __init__(self, script, queue):
        self.script, self.queue, self.now = script, queue, NOW
        self.answer, self.announced = script.Answer(202, ""), []
        self.restart()

    def restart(self):
        settings = self.script.ROUTER._settings
        self.router = self.script.Router(
            settings, self.queue, self._announce, clock=lambda: self.now, share=lambda: 0.0
        )

    def _announce(self, row):
        self.announced.append(row)
        return self.answer

    def work(self):
        """Until there is nothing to do now; seconds until there is."""
        while (seconds := self.router.step()) == 0.0:
            pass
        return seconds


@pytest.fixture
def site(script, queue):
    made = Site(script, queue)
    made.work()  # a new queue begins at the end of the changes
    return made


def row(script, digest="a", series="1.2.3", **changes):
    values = {"resource": f"of-{series}", "study": "1.2", "since": NOW, "due": NOW} | changes
    return script.Row(digest=digest, series=series, **values)


# --- configuration


def test_settings_are_read_beside_the_configuration(script, orthanc, tmp_path):
    orthanc.configuration["Clearslice"] |= {
        "Stations": "CT*",
        "Modalities": ["CT", "PT"],
        "QueueFile": "q",
        "Authority": "ca",
    }
    orthanc.configuration["StableAge"] = 30
    found = script.read_settings(orthanc.configuration, tmp_path)
    assert found == script.Settings(
        url="http://127.0.0.1:9",
        key_file=tmp_path / "api-key",
        peer="orthanc",
        queue_file=tmp_path / "q",
        authority=tmp_path / "ca",
        modalities=("CT", "PT"),
        stations=("CT*",),
        stable_seconds=30.0,
    )
    assert script.ROUTER._settings.queue_file == tmp_path / "clearslice-queue.sqlite3"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"Url": None}, "Url must be a text"),
        ({"Url": "ftp://host"}, "Url must be like"),
        ({"Url": "https://user:secret@host"}, "without user"),
        ({"Url": "https://host:99999"}, "Url is none"),
        ({"Url": "https://h\u00f6st"}, "Url must be like"),
        ({"Url": "https://host/a b"}, "Url must be like"),
        ({"Url": "http://clearslice:8000"}, "in the clear"),
        ({"Url": "http://clearslice:8000", "AllowHttp": "yes"}, "AllowHttp must be true or false"),
        ({"Peer": " "}, "Peer must be a text"),
        ({"Modalities": []}, "Modalities must be a list"),
        ({"Descriptions": [1]}, "Descriptions must be a list"),
        ({"SkipSuffix": 1}, "SkipSuffix must be a text"),
        ({"Station": "CT1"}, "unknown: Station"),
        ({"KeyFile": "absent"}, "KeyFile cannot be read: No such file"),
        ({"Authority": "absent"}, "Authority cannot be used: No such file"),
        ({"Authority": "api-key"}, "Authority cannot be used"),
        ({"QueueFile": "absent/queue"}, "cannot be used"),
        ({"QueueFile": "api-key"}, "cannot be"),
    ],
)
def test_mistakes_are_told_and_nothing_is_done(load, orthanc, changes, told):
    orthanc.configuration["Clearslice"] |= changes
    assert load().ROUTER is None
    ((level, line),) = orthanc.log
    assert level == "error"
    assert told in line
    assert "secret" not in line
    assert not orthanc.callbacks
    assert not orthanc.routes


@pytest.mark.parametrize("section", [None, [], "x"])
def test_without_a_section_nothing_is_done(load, orthanc, section):
    orthanc.configuration["Clearslice"] = section
    assert load().ROUTER is None
    assert "there is no section" in orthanc.log[0][1]


def test_what_nobody_thought_of_does_not_keep_orthanc_from_starting(load, orthanc):
    orthanc.configuration["StableAge"] = "long"
    assert load().ROUTER is None
    assert "ValueError in line " in orthanc.log[0][1]


@pytest.mark.parametrize("text", ["", "two words", "two\nlines", "k\u00e9y"])
def test_a_key_file_holds_one_key(script, tmp_path, text):
    (tmp_path / "key").write_text(text, encoding="utf-8")
    with pytest.raises(script.WrongConfiguration, match="one API key and nothing else"):
        script.read_key(tmp_path / "key")


@pytest.mark.parametrize("url", ["http://localhost:1", "http://127.1.2.3", "http://[::1]:8000/", "https://host/base/"])
def test_the_key_stays_on_this_machine_or_is_encrypted(script, orthanc, tmp_path, url):
    orthanc.configuration["Clearslice"]["Url"] = url
    assert script.read_settings(orthanc.configuration, tmp_path).url == url.rstrip("/")


# --- decisions


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({}, None),
        ({"SeriesDescription": "Chest"}, None),
        ({"SeriesDescription": "Chest AI-DN"}, "its description ends as clearslice's do"),
        ({"SeriesDescription": "Chest AI-DN "}, "its description ends as clearslice's do"),
        ({"SeriesDescription": "AI-DN"}, "its description ends as clearslice's do"),
        ({"SeriesDescription": "AI-DN Chest"}, None),
        ({"Manufacturer": "Clearslice"}, "made by clearslice"),
        ({"Manufacturer": " CLEARSLICE "}, "made by clearslice"),
        ({"Manufacturer": "Clearslices"}, None),
        ({"Modality": "MR"}, "other modality"),
        ({"Modality": ""}, "other modality"),
    ],
)
def test_what_is_left_alone(script, tags, reason):
    assert script.why_not({"Modality": "CT"} | tags, script.ROUTER._settings) == reason


def test_conditions_are_patterns_as_in_pacs_toml(script, orthanc, tmp_path):
    orthanc.configuration["Clearslice"] |= {"Stations": ["ct0?", "A[1]"], "Descriptions": "*lung*", "SkipSuffix": ""}
    settings = script.read_settings(orthanc.configuration, tmp_path)
    fits = {"Modality": "CT", "StationName": "CT07", "SeriesDescription": "1.0 LUNG AI-DN"}
    assert script.why_not(fits, settings) is None
    assert script.why_not(fits | {"StationName": "a[1]"}, settings) is None
    assert script.why_not(fits | {"StationName": "CT1"}, settings) == "other station"
    assert script.why_not(fits | {"StationName": "A1"}, settings) == "other station"
    assert script.why_not(fits | {"SeriesDescription": "soft"}, settings) == "other description"


def test_a_digest_is_of_a_series_and_a_set(script):
    # printf '1.2\n1.2.1\n1.2.2' | sha256sum
    found = script.digest_of("1.2", ["1.2.2", "1.2.1", "1.2.2"])
    assert found == "077fde950e17a285086b9bef364a469c7fcf33d7db984b032607bbd528d88723"
    assert found != script.digest_of("1.2", ["1.2.1", "1.2.2", "1.2.3"])
    assert found != script.digest_of("1.3", ["1.2.1", "1.2.2"])


def test_pauses_double_up_to_an_hour(script):
    assert [script.pause(attempts, 10.0, 0.0) for attempts in (1, 2, 3, 9, 10, 10_000)] == [
        10,
        20,
        40,
        2560,
        3600,
        3600,
    ]
    assert script.pause(3, 10.0, 0.5) == 30.0
    assert script.pause(20, 300.0, 0.0, 900.0) == 900.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, 0),
        ("120", 120),
        (" 7 ", 7),
        ("-5", 0),
        ("soon", 0),
        ("", 0),
        ("9" * 400, 86400),
        (email.utils.formatdate(NOW + 90, usegmt=True), 90),
        (email.utils.formatdate(NOW - 90, usegmt=True), 0),
    ],
)
def test_retry_after(script, value, seconds):
    assert script.retry_after(value, NOW) == seconds


@pytest.mark.parametrize(
    ("statuses", "kind"),
    [
        ((202,), "accepted"),
        ((200, 204, 301, 302, 307, 401, 403, 404, 405, 408, 421, 429), "repair"),
        ((400, 409, 413, 415, 422), "refused"),
        ((None, 500, 502, 503, 507), "down"),
    ],
)
def test_kinds_of_answers(script, statuses, kind):
    assert {script.Answer(status, "").kind for status in statuses} == {kind}


# --- queue


def test_a_queue_gives_what_is_due_first(script, queue):
    for digest, due in [("a", 30), ("b", 10), ("c", 20)]:
        assert queue.add(row(script, digest, f"1.{due}", due=NOW + due))
    assert queue.next(NOW) is None
    assert queue.next_due() == NOW + 10
    assert queue.next(NOW + 25).digest == "b"
    queue.update(queue.next(NOW + 25), "sent", due=NOW, reason="")
    assert queue.next(NOW + 25).digest == "c"
    queue.update(queue.next(NOW + 25), "waiting", due=NOW + 100, reason="busy")
    assert queue.next(NOW + 30).digest == "a"
    assert queue.counts() == {"waiting": 2, "sent": 1, "refused": 0}
    assert [(each.digest, each.attempts, each.reason) for each in queue.unsent()] == [("a", 0, ""), ("c", 1, "busy")]


def test_a_set_is_queued_once_and_replaces_what_was_not_sent_of_its_series(script, queue):
    assert queue.add(row(script, "a"))
    assert not queue.add(row(script, "a", since=NOW + 1))
    queue.update(queue.next(NOW), "sent", due=NOW, reason="")
    assert not queue.add(row(script, "a"))
    assert queue.add(row(script, "b"))
    assert queue.add(row(script, "other", "1.2.4"))
    assert queue.add(row(script, "c"))
    assert {each.digest for each in queue.unsent()} == {"other", "c"}
    assert queue.counts() == {"waiting": 2, "sent": 1, "refused": 0}


def test_a_queue_is_read_again_and_is_its_owners(script, queue, tmp_path):
    queue.add(row(script))
    assert queue.position() is None
    queue.settle(5)
    queue.settle(8)
    again = script.Queue(tmp_path / "queue.sqlite3")
    assert again.next(NOW) == row(script)
    assert again.position() == (5, 8)
    again.close()
    for path in tmp_path.glob("queue.sqlite3*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_all_that_was_not_sent_is_due_when_somebody_asks(script, queue):
    for digest, state in [("a", "sent"), ("b", "refused"), ("c", "waiting")]:
        queue.add(row(script, digest, f"1.{digest}"))
        queue.update(row(script, digest), state, due=NOW + 1000, reason="x")
    assert queue.retry(NOW + 5) == 2
    assert [(each.state, each.due, each.attempts) for each in queue.unsent()] == [("waiting", NOW + 5, 0)] * 2


def test_a_newer_queue_is_left_alone(script, tmp_path):
    with sqlite3.connect(tmp_path / "newer") as made:
        made.execute("PRAGMA user_version = 2")
    made.close()
    with pytest.raises(script.WrongConfiguration, match="newer"):
        script.Queue(tmp_path / "newer")


# --- worker


def test_a_new_queue_begins_now(script, queue, orthanc):
    orthanc.comes("old", ["1"])
    site = Site(script, queue)
    site.work()
    assert site.announced == []
    orthanc.comes("newer", ["1", "2"])
    assert site.work() == script.LOOK_SECONDS
    (sent,) = site.announced
    assert (sent.resource, sent.series, sent.study) == ("newer", "1.2.5", "1.2.9")
    assert sent.digest == script.digest_of("1.2.5", ["1", "2"])


def test_a_series_is_announced_once_for_each_set_of_its_instances(site, orthanc):
    orthanc.comes("series", ["1"])
    site.work()
    orthanc.changes.append(("StableSeries", "series"))
    site.work()
    assert len(site.announced) == 1
    orthanc.comes("series", ["1", "2"])
    site.work()
    assert len({sent.digest for sent in site.announced}) == len(site.announced) == 2


def test_only_what_is_stable_and_wanted_is_announced(site, orthanc):
    orthanc.comes("other", ["1"], Modality="MR")
    orthanc.comes("ours", ["1"], Manufacturer="Clearslice")
    orthanc.comes("gone", ["1"])
    del orthanc.series["gone"]
    orthanc.comes("coming", ["1"], stable=False)
    orthanc.changes.append(("StableSeries", "coming"))  # and then another slice came
    site.work()
    assert site.announced == []
    # of instances nobody is asked while it runs: thousands come
    assert not any("instances" in path for path in orthanc.asked)


def test_a_restart_finds_what_was_missed_and_what_was_never_called_stable(site, orthanc, script, monkeypatch):
    monkeypatch.setattr(script, "PAGE", 2)
    orthanc.comes("sent", ["1", "2", "3"])
    site.work()
    orthanc.comes("missed", ["1", "2", "3"])
    orthanc.comes("never", ["1"], stable=False)
    orthanc.series["never"] = (*orthanc.series["never"][:2], True)  # it says so after a restart
    orthanc.comes("still coming", ["1"], stable=False)
    site.restart()
    site.work()
    assert [sent.resource for sent in site.announced] == ["sent", "missed", "never"]


def test_the_position_moves_only_behind_what_had_time_to_become_stable(site, orthanc, script, queue, monkeypatch):
    moment = 1000.0
    monkeypatch.setattr(script.time, "monotonic", lambda: moment)
    site.restart()
    orthanc.comes("a", ["1"])
    site.work()
    moment += 100.0  # less than 60 s of StableAge and 60 s of slack
    orthanc.comes("b", ["1"])
    site.work()
    assert queue.position() == (0, 0)
    moment += 20.0
    site.work()
    assert queue.position() == (0, 2)
    moment += 100.0
    site.work()
    assert queue.position() == (0, 4)


@pytest.mark.parametrize(("before", "expected"), [(1, ["b", "cc"]), (3, ["cc"])])
def test_an_index_that_was_replaced_is_read_from_where_it_is_sensible(script, queue, orthanc, before, expected):
    orthanc.changes = [("NewPatient", "x")] * before
    site = Site(script, queue)
    site.work()
    queue.settle(90)
    orthanc.changes = []
    orthanc.comes("b", ["1"])
    orthanc.changes.append(("NewPatient", "x"))
    orthanc.comes("cc", ["1"])
    site.restart()
    site.work()
    # begun at 1: a backup of the same index; what came before the queue was begun is not routed
    assert [sent.resource for sent in site.announced] == expected


def test_a_change_that_cannot_be_followed_now_is_followed_later(site, orthanc):
    orthanc.comes("a", ["1"])
    orthanc.comes("bb", ["1"])
    orthanc.fails.add("/series/bb")
    with pytest.raises(orthanc.OrthancException):
        site.router.step()
    orthanc.fails.clear()
    site.work()
    assert [sent.resource for sent in site.announced] == ["a", "bb"]


def test_a_server_that_is_down_is_tried_less_and_less(site, orthanc, script, queue):
    orthanc.comes("a", ["1"])
    site.answer = script.Answer(None, "no answer: refused")
    waits = []
    for _ in range(12):
        site.work()
        (waiting,) = queue.unsent()
        waits.append(waiting.due - site.now)
        site.now = waiting.due
    assert waits == [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600]
    assert [level for level, line in orthanc.log if "waits" in line] == ["warning"] + ["info"] * 11
    site.answer = script.Answer(202, "")
    site.work()
    assert queue.counts()["sent"] == 1


def test_one_series_shows_that_the_server_is_back_and_one_bad_series_stops_no_other(site, orthanc, script, queue):
    for name in ["a", "bb", "ccc"]:
        orthanc.comes(name, ["1"])
    site.answer = script.Answer(503, "busy")
    assert site.work() == 10.0
    assert [sent.resource for sent in site.announced] == ["a"]  # nobody else is tried meanwhile
    site.now += 10
    assert site.work() == 20.0
    assert [sent.resource for sent in site.announced] == ["a", "bb"]
    site.now += 20
    site.answer = script.Answer(202, "")
    site.work()
    assert queue.counts() == {"waiting": 0, "sent": 3, "refused": 0}


def test_the_server_says_when(site, orthanc, script, queue):
    orthanc.comes("a", ["1"])
    site.answer = script.Answer(429, "slowly", wait=7200.0)
    site.work()
    assert queue.next_due() == NOW + 7200
    site.now += 7199
    site.work()
    assert len(site.announced) == 1


def test_what_must_be_repaired_is_kept_and_tried_slowly(site, orthanc, script, queue):
    orthanc.comes("a", ["1"])
    site.answer = script.Answer(401, "401 Unauthorized")
    site.work()
    assert queue.next_due() == NOW + script.SLOW_SECONDS
    assert site.router.retry() == 1
    site.answer = script.Answer(202, "")
    site.work()
    assert queue.counts()["sent"] == 1


def test_what_is_refused_is_set_aside_at_once_and_what_is_too_old_in_the_end(site, orthanc, script, queue):
    orthanc.comes("a", ["1"])
    site.answer = script.Answer(422, "422 Unprocessable: no such peer")
    site.work()
    (refused,) = queue.unsent()
    assert (refused.state, refused.attempts, refused.reason) == ("refused", 1, "422 Unprocessable: no such peer")
    orthanc.comes("bb", ["1"])
    site.answer = script.Answer(None, "no answer")
    site.work()
    site.now += script.GIVE_UP_SECONDS + 1
    site.work()
    old = queue.unsent()[-1]
    assert (old.state, old.reason) == ("refused", "given up after 2 attempts: no answer")
    assert queue.next_due() is None


def test_a_defect_is_logged_without_its_message_and_the_worker_goes_on(load, orthanc, monkeypatch):
    script = load()
    failed = threading.Event()

    def defect(_):
        failed.set()
        raise RuntimeError("Doe^John")

    monkeypatch.setattr(script.ROUTER, "send", defect)
    (on_change,) = orthanc.callbacks
    on_change(orthanc.ChangeType.ORTHANC_STARTED, 4, "")
    orthanc.comes("a", ["1"])
    script.ROUTER._queue.settle(0)
    on_change(orthanc.ChangeType.STABLE_SERIES, 2, "a")
    assert failed.wait(PATIENCE)
    on_change(orthanc.ChangeType.ORTHANC_STOPPED, 4, "")
    assert not script.ROUTER._thread.is_alive()
    (line,) = {line for level, line in orthanc.log if level == "error"}
    assert "RuntimeError in line " in line
    assert "Doe" not in line


# --- clearslice


class Served:
    """A server on loopback that gives one answer, and keeps what it was asked."""

    def __init__(self, status=202, body=b"{}", tls=None, **headers):
        self.requests = requests = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                data = self.rfile.read(int(self.headers["Content-Length"]))
                requests.append((self.path, dict(self.headers), json.loads(data)))
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        class Server(HTTPServer):
            def handle_error(self, *_):
                """A client that does not trust us hangs up."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


def announce(script, url, tmp_path, authority=None):
    settings = script.Settings(
        url=url, key_file=tmp_path / "api-key", peer="orthanc", queue_file=tmp_path / "q", authority=authority
    )
    return script.announce(row(script), settings, script.trust(settings))


def test_a_request_is_what_clearslice_expects(script, tmp_path):
    with Served() as server:
        answer = announce(script, f"http://127.0.0.1:{server.port}/base", tmp_path)
    assert answer.kind == "accepted"
    ((path, headers, document),) = server.requests
    assert path == "/base/v1/pacs/pulls"
    assert document == {"peer": "orthanc", "study": "1.2", "series": "1.2.3"}
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert headers["Idempotency-Key"] == "a"
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (
            422,
            b'{"title": "Wrong", "detail": "peer must be\\na DICOMweb peer"}',
            "422 Unprocessable Entity: peer must be a DICOMweb peer",
        ),
        (422, b'{"title": "Wrong"}', "422 Unprocessable Entity: Wrong"),
        (502, b"<html>", "502 Bad Gateway"),
        (502, b"[1]", "502 Bad Gateway"),
        (503, b'{"detail": "' + b"x" * 5000 + b'"}', ("503 Service Unavailable: " + "x" * 5000)[:300]),
    ],
)
def test_reasons_are_one_short_line(script, tmp_path, status, body, reason):
    with Served(status, body, Retry_After="30") as server:
        answer = announce(script, f"http://127.0.0.1:{server.port}", tmp_path)
    assert answer == script.Answer(status, reason, 30.0)


def test_a_redirect_is_not_followed(script, tmp_path):
    with Served() as elsewhere, Served(307, b"", Location=f"http://127.0.0.1:{elsewhere.port}/") as server:
        answer = announce(script, f"http://127.0.0.1:{server.port}", tmp_path)
    assert answer.kind == "repair"
    assert elsewhere.requests == []


def test_no_server_no_key_and_a_server_of_something_else(script, tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        answer = announce(script, f"http://127.0.0.1:{closed.getsockname()[1]}", tmp_path)
    assert (answer.status, answer.kind) == (None, "down")
    with Served() as server:
        (tmp_path / "api-key").unlink()
        answer = announce(script, f"http://127.0.0.1:{server.port}", tmp_path)
        assert server.requests == []
    assert answer.kind == "repair"
    assert answer.reason == "KeyFile cannot be read: No such file or directory"


@pytest.fixture(scope="module")
def certified(tmp_path_factory):
    """A certificate of its own authority for 127.0.0.1, and a context that shows it."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "clearslice")])
    moment = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - dt.timedelta(hours=1))
        .not_valid_after(moment + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    (folder / "ca.pem").write_bytes(certificate.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.pem", folder / "key.pem")
    return folder / "ca.pem", context


def test_certificates_are_verified(script, tmp_path, certified):
    authority, context = certified
    with Served(tls=context) as server:
        answer = announce(script, f"https://127.0.0.1:{server.port}", tmp_path)
        assert answer.kind == "down"
        assert "CERTIFICATE_VERIFY_FAILED" in answer.reason
        assert server.requests == []
        assert announce(script, f"https://127.0.0.1:{server.port}", tmp_path, authority).kind == "accepted"


# --- Orthanc


class Output:
    """Of a REST callback."""

    def __init__(self):
        self.answers = []

    def AnswerBuffer(self, text, kind):
        self.answers.append((200, kind, json.loads(text)))

    def SendHttpStatus(self, status, text, length):
        assert length == len(text)
        self.answers.append((status, None, json.loads(text)))

    def SendMethodNotAllowed(self, allowed):
        self.answers.append((405, None, allowed))


def test_the_route_tells_of_what_was_not_sent_and_nothing_of_a_patient(script, orthanc):
    queue = script.ROUTER._queue
    queue.add(row(script, "a", "1.2.3"))
    queue.add(row(script, "b", "1.2.4", since=NOW + 1))
    queue.update(row(script, "b"), "refused", due=NOW, reason="422 Unprocessable Entity")
    output = Output()
    orthanc.routes["/clearslice/queue"](output, "/clearslice/queue", method="GET")
    usual = {"since": "2023-11-14T22:13:20+00:00", "attempts": 0, "reason": ""}
    first = usual | {"series": "of-1.2.3", "state": "waiting", "due": "2023-11-14T22:13:20+00:00"}
    second = {
        "series": "of-1.2.4", "state": "refused", "attempts": 1, "since": "2023-11-14T22:13:21+00:00", "due": None,
        "reason": "422 Unprocessable Entity",
    }  # fmt: skip
    expected = {"waiting": 1, "sent": 0, "refused": 1, "rows": [first, second]}
    assert output.answers == [(200, "application/json", expected)]


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        ({"method": "POST", "body": b'{"retry": true}'}, (200, "application/json", {"retried": 1})),
        (
            {"method": "POST", "body": b'{"retry": 1, "x": 2}'},
            (400, None, {"error": 'the body must be {"retry": true}'}),
        ),
        ({"method": "POST", "body": b"\xff"}, (400, None, {"error": 'the body must be {"retry": true}'})),
        ({"method": "POST"}, (400, None, {"error": 'the body must be {"retry": true}'})),
        ({"method": "DELETE"}, (405, None, "GET,POST")),
    ],
)
def test_the_route_takes_one_order(script, orthanc, request_, answer):
    script.ROUTER._queue.add(row(script, due=NOW + 1e9))
    output = Output()
    orthanc.routes["/clearslice/queue"](output, "/clearslice/queue", **request_)
    assert output.answers == [answer]


@pytest.mark.usefixtures("script")
def test_the_callback_asks_orthanc_for_nothing(orthanc):
    (on_change,) = orthanc.callbacks
    orthanc.asked.clear()
    on_change(orthanc.ChangeType.NEW_INSTANCE, 3, "x")
    on_change(orthanc.ChangeType.STABLE_SERIES, 2, "x")
    assert orthanc.asked == []


def test_the_example_is_a_configuration(script, tmp_path):
    example = json.loads(SCRIPT.with_name("orthanc-auto-route.json").read_text(encoding="utf-8"))
    assert script.read_settings(example, tmp_path).peer == "orthanc"
    assert Path(example["PythonScript"]).name == SCRIPT.name
    assert {Path(path).name for path in example["Plugins"]} == {"libOrthancDicomWeb.so", "libOrthancPython.so"}


# --- docs/orthanc.md


def test_each_pacs_toml_of_the_page_is_one(tmp_path):
    blocks = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    sends, fetches = [parse_configuration(tomllib.loads(block), folder=tmp_path) for block in blocks]
    assert (sends.peers["orthanc"].kind, fetches.peers["orthanc"].kind) == ("dimse", "dicomweb")
    assert [rule.to for rule in (*sends.rules, *fetches.rules)] == [("orthanc",), ("orthanc",)]
    (orthanc,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    known = json.loads(orthanc)["DicomModalities"]["clearslice"]
    assert (known["AET"], known["Port"]) == (sends.node.aet, sends.node.port)
    example = json.loads(SCRIPT.with_name("orthanc-auto-route.json").read_text(encoding="utf-8"))
    assert example["Clearslice"]["Peer"] in fetches.peers


def test_the_page_names_every_setting(script):
    table = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", PAGE, re.MULTILINE)
    assert {name for cell in table for name in re.findall(r"\w+", cell)} == script._KNOWN


def test_what_clearslice_makes_is_known_as_such(script):
    assert script.MANUFACTURER == MANUFACTURER
    assert script.Settings.skip_suffix == Settings().dicom.series_description_suffix

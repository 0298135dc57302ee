"""Orthanc's Python plugin runs this: each CT series that is complete is announced to clearslice, which then fetches it.

    Orthanc --StableSeries--> wakes worker --/changes--> queue (SQLite) --POST /v1/pacs/pulls--> clearslice
                                      |                  waiting, sent, refused                      |
                                      +-- other modality, not wanted, made by clearslice             +-- WADO-RS

Orthanc's own list of changes says what is to be done, and the queue remembers how far it was read, so that neither a
crash nor a server that is down for days loses a series. Orthanc forgets which series were still coming in when it
stops, and never calls them stable: after each start, the series of new instances are looked at, too.

How to install it: docs/orthanc.md. It needs Python 3.11 and nothing but its standard library.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import http.client
import ipaddress
import json
import os
import random
import re
import sqlite3
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import orthanc

State = Literal["waiting", "sent", "refused"]

MANUFACTURER = "Clearslice"
"""What clearslice writes as the Manufacturer of all that it makes."""

TIMEOUT_SECONDS = 15.0
"""Without an answer: accepting an order is a matter of milliseconds."""

STOP_SECONDS = 20.0
"""So long Orthanc's stop waits for the worker, which may be in the middle of a request."""

FIRST_SECONDS, SLOW_SECONDS, LONGEST_SECONDS = 10.0, 300.0, 3600.0
"""Pauses after the first failure, of a server that is down and of what somebody must repair; doubled up to the last."""

LONGEST_PAUSE_SECONDS = 300.0
"""So often one series is tried while nothing gets through, however many wait: it shows that the server is back."""

GIVE_UP_SECONDS = 14 * 24 * 3600.0
"""After which a series is set aside, where it is seen, instead of being tried for ever."""

LONGEST_RETRY_AFTER = 24 * 3600.0
LOOK_SECONDS = 60.0
"""The list of changes is read at least so often, and so long after an error."""

SLACK_SECONDS = 60.0
"""An instance is settled when it came so long before, and StableAge: its series was called stable, or had others."""

PAGE = 1000
SHOWN = 1000
"""Rows in an answer; the counts are of all."""

MOST_BYTES = 1 << 16
"""Of an answer."""

TO_BE_REPAIRED = frozenset({401, 403, 404, 405, 408, 421, 429})
"""Answers that are about keys, addresses and limits, and not about the series: it is kept until they are repaired."""

_KEY = re.compile(r"[!-~]{1,4096}")


class WrongConfiguration(ValueError):
    """Section "Clearslice" of Orthanc's configuration is not as it must be."""


# --- configuration


@dataclass(frozen=True)
class Settings:
    """Section "Clearslice" of Orthanc's configuration.

    Attributes:
        url: Url, of clearslice; https, unless it is on this machine or AllowHttp is true.
        key_file: KeyFile, which holds an API key of scope `reconstruct`; read for each request.
        peer: Peer, the name of this Orthanc in pacs.toml.
        authority: Authority, a PEM file with the CA of clearslice's certificate; without, those of the system.
        modalities: Modalities that are routed.
        stations, descriptions: Stations and Descriptions, patterns for StationName and SeriesDescription; without, all.
        skip_suffix: SkipSuffix, at which end of a SeriesDescription a series of clearslice's is known.
        queue_file: QueueFile.
        stable_seconds: Orthanc's own StableAge.
    """

    url: str
    key_file: Path
    peer: str
    queue_file: Path
    authority: Path | None = None
    modalities: tuple[str, ...] = ("CT",)
    stations: tuple[str, ...] = ()
    descriptions: tuple[str, ...] = ()
    skip_suffix: str = " AI-DN"
    stable_seconds: float = 60.0


_CONNECTION = ("Url", "KeyFile", "Peer", "Authority", "AllowHttp")
_CHOICE = ("Modalities", "Stations", "Descriptions", "SkipSuffix")
_KNOWN = {*_CONNECTION, *_CHOICE, "QueueFile"}


def read_settings(configuration: Mapping[str, Any], folder: Path) -> Settings:
    """What Orthanc's configuration says; files are looked for beside it, as Orthanc does.

    Raises:
        WrongConfiguration: something is missing, unknown, or of another kind.
    """
    section = configuration.get("Clearslice")
    if not isinstance(section, dict):
        raise WrongConfiguration('there is no section "Clearslice"')
    unknown = sorted(set(section) - _KNOWN)
    if unknown:  # a filter with a slip of the pen would route everything
        raise WrongConfiguration(f"unknown: {', '.join(unknown)}")
    allow = section.get("AllowHttp", False)
    if not isinstance(allow, bool):
        raise WrongConfiguration("AllowHttp must be true or false")
    storage = folder / str(configuration.get("StorageDirectory", "OrthancStorage"))
    suffix = section.get("SkipSuffix", Settings.skip_suffix)
    if not isinstance(suffix, str):
        raise WrongConfiguration("SkipSuffix must be a text")
    return Settings(
        url=_url(_text(section, "Url"), allow_http=allow),
        key_file=folder / _text(section, "KeyFile"),
        peer=_text(section, "Peer"),
        queue_file=folder / _text(section, "QueueFile", str(storage / "clearslice-queue.sqlite3")),
        authority=folder / _text(section, "Authority") if "Authority" in section else None,
        modalities=_texts(section, "Modalities", Settings.modalities),
        stations=_texts(section, "Stations"),
        descriptions=_texts(section, "Descriptions"),
        skip_suffix=suffix.rstrip(),
        stable_seconds=float(configuration.get("StableAge", Settings.stable_seconds)),
    )


def _text(section: Mapping[str, Any], name: str, usual: str | None = None) -> str:
    found = section.get(name, usual)
    if not isinstance(found, str) or not found.strip():
        raise WrongConfiguration(f"{name} must be a text that is not empty")
    return found


def _texts(section: Mapping[str, Any], name: str, usual: tuple[str, ...] = ()) -> tuple[str, ...]:
    found = section.get(name)
    if found is None:
        return usual
    listed = found if isinstance(found, list) else [found]
    if not listed or not all(isinstance(each, str) and each for each in listed):
        raise WrongConfiguration(f"{name} must be a list of texts; leave it out to set no condition")
    return tuple(listed)


def _url(url: str, *, allow_http: bool) -> str:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        host.encode("idna")
        # a port that is none raises, too
        plain = parts.port != 0 and url.isascii() and url.isprintable() and " " not in url
    except ValueError:
        raise WrongConfiguration("Url is none") from None
    if (
        not plain
        or parts.scheme not in {"http", "https"}
        or not host
        or parts.query
        or parts.fragment
        or parts.username is not None
    ):
        raise WrongConfiguration("Url must be like https://HOST:PORT, without user, ? and #")
    if parts.scheme == "http" and not allow_http and not _is_loopback(host):
        raise WrongConfiguration("the key would cross the network in the clear: use https, or set AllowHttp to true")
    return url.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_key(path: Path) -> str:
    """The API key in a file.

    Raises:
        WrongConfiguration: it cannot be read, or does not hold one key; the message does not show what it holds.
    """
    try:
        key = path.read_bytes().decode("utf-8", "replace").strip()
    except OSError as error:
        raise WrongConfiguration(f"KeyFile cannot be read: {error.strerror}") from None
    if not _KEY.fullmatch(key):
        raise WrongConfiguration("KeyFile must hold one API key and nothing else")
    return key


def trust(settings: Settings) -> ssl.SSLContext:
    """Whose certificates are believed.

    Raises:
        WrongConfiguration: Authority cannot be read, or is no PEM file.
    """
    try:
        return ssl.create_default_context(cafile=settings.authority)
    except OSError as error:  # SSLError is one
        raise WrongConfiguration(f"Authority cannot be used: {error.strerror or error}") from None


# --- decisions


def why_not(tags: Mapping[str, str], settings: Settings) -> str | None:
    """Why a series is left alone, by its main tags; None: it is routed."""
    description = tags.get("SeriesDescription", "").rstrip()
    suffix = settings.skip_suffix
    if tags.get("Manufacturer", "").strip().lower() == MANUFACTURER.lower():
        return "made by clearslice"
    # clearslice strips the suffix of a series that had no description
    if suffix and (description.endswith(suffix) or description == suffix.strip()):
        return "its description ends as clearslice's do"
    if tags.get("Modality", "").strip() not in settings.modalities:
        return "other modality"
    if not _fits(tags.get("StationName", ""), settings.stations):
        return "other station"
    if not _fits(description, settings.descriptions):
        return "other description"
    return None


def _fits(text: str, patterns: tuple[str, ...]) -> bool:
    # as in pacs.toml: * and ? only, whatever the case
    escaped = (pattern.lower().replace("[", "[[]") for pattern in patterns)
    return not patterns or any(fnmatch.fnmatchcase(text.strip().lower(), pattern) for pattern in escaped)


def digest_of(series: str, instances: list[str]) -> str:
    """One for each set of instances of a series, in whatever order: 64 hexadecimal digits."""
    return hashlib.sha256("\n".join([series, *sorted(set(instances))]).encode()).hexdigest()


def pause(attempts: int, first: float, share: float, longest: float = LONGEST_SECONDS) -> float:
    """Seconds until the next attempt, after so many: doubled each time, less up to half of it by `share` in [0, 1)."""
    return min(first * 2.0 ** min(attempts - 1, 20), longest) * (1 - share / 2)


def retry_after(value: str | None, now: float) -> float:
    """Seconds that a Retry-After header asks for (RFC 9110 10.2.3); 0: it says nothing that is understood."""
    if value is None:
        return 0.0
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        value = value.strip()
        seconds = float(value) if value.isdecimal() else parsedate_to_datetime(value).timestamp() - now
        return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)
    return 0.0


@dataclass(frozen=True)
class Answer:
    """What became of one request.

    Attributes:
        status: HTTP status; None: there was no answer.
        reason: in words, without secrets.
        wait: seconds that were asked for.
    """

    status: int | None
    reason: str
    wait: float = 0.0

    @property
    def kind(self) -> Literal["accepted", "refused", "down", "repair"]:
        """Only 202 is an acceptance: another success or a redirect comes from some other server."""
        if self.status == HTTPStatus.ACCEPTED:
            return "accepted"
        if self.status is None or self.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return "down"
        if self.status < HTTPStatus.BAD_REQUEST or self.status in TO_BE_REPAIRED:
            return "repair"
        return "refused"


# --- queue


@dataclass(frozen=True)
class Row:
    """One series with one set of instances.

    Attributes:
        digest: of both; the Idempotency-Key.
        resource: the series' identifier in Orthanc, a hash.
        series, study: SeriesInstanceUID, StudyInstanceUID.
        attempts, reason: so far, and of the last failure.
        since, due: Unix time, s: when it was stable, and of the next attempt.
    """

    digest: str
    resource: str
    series: str
    study: str
    since: float
    due: float
    attempts: int = 0
    reason: str = ""
    state: State = "waiting"


class Queue:
    """What is to be sent and what was, in one SQLite file that outlives Orthanc; any thread may use it.

    Raises:
        WrongConfiguration: it cannot be opened or made, or is a newer one.
    """

    VERSION = 1
    _TABLES = (
        """CREATE TABLE IF NOT EXISTS series (digest TEXT PRIMARY KEY, resource TEXT NOT NULL, series TEXT NOT NULL,
           study TEXT NOT NULL, since REAL NOT NULL, due REAL NOT NULL, attempts INTEGER NOT NULL, reason TEXT NOT NULL,
           state TEXT NOT NULL CHECK (state IN ('waiting', 'sent', 'refused')))""",
        "CREATE INDEX IF NOT EXISTS by_state ON series (state, due)",
        "CREATE INDEX IF NOT EXISTS by_series ON series (series)",
        """CREATE TABLE IF NOT EXISTS position (one INTEGER PRIMARY KEY CHECK (one = 1), first INTEGER NOT NULL,
           handled INTEGER NOT NULL)""",
        f"PRAGMA user_version = {VERSION}",
    )

    def __init__(self, path: Path) -> None:
        try:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # SQLite's own files beside it get the same mode
            self._db = sqlite3.connect(path, timeout=10, check_same_thread=False)
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
        except (OSError, sqlite3.Error) as error:
            raise WrongConfiguration(f"QueueFile {path} cannot be used: {error}") from None
        if version > self.VERSION:
            raise WrongConfiguration(f"QueueFile {path} was written by a newer version of this script")
        self._lock = threading.Lock()
        try:
            # an answer of clearslice's is written down for good, or given again under the same key
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            with self._db:
                for statement in self._TABLES:
                    self._db.execute(statement)
        except sqlite3.Error as error:
            raise WrongConfiguration(f"QueueFile {path} cannot be written: {error}") from None

    def close(self) -> None:
        """Nothing can be done with it afterwards."""
        with self._lock:
            self._db.close()

    def _do(self, statement: str, *values: Any) -> int:
        """How many rows it changed."""
        with self._lock, self._db:
            return self._db.execute(statement, values).rowcount

    def _ask(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(statement, values).fetchall()

    def position(self) -> tuple[int, int] | None:
        """Sequence numbers of Orthanc's changes: where it was begun, and up to where all is settled; None: nowhere."""
        found = self._ask("SELECT first, handled FROM position")
        return found[0] if found else None

    def settle(self, handled: int) -> None:
        """All changes up to this one are settled."""
        change = "INSERT INTO position VALUES (1, ?, ?) ON CONFLICT (one) DO UPDATE SET handled = excluded.handled"
        self._do(change, handled, handled)

    def add(self, row: Row) -> bool:
        """Puts it in, unless it was there before, in place of what was not sent of the same series: clearslice fetches
        what the series has at that time."""
        values = (row.digest, row.resource, row.series, row.study, row.since, row.due)
        insert = "INSERT OR IGNORE INTO series VALUES (?, ?, ?, ?, ?, ?, 0, '', 'waiting')"
        replaced = "DELETE FROM series WHERE series = ? AND digest <> ? AND state <> 'sent'"
        with self._lock, self._db:
            if self._db.execute(insert, values).rowcount == 0:
                return False
            self._db.execute(replaced, (row.series, row.digest))
            return True

    def next(self, now: float) -> Row | None:
        """Which was to be tried at the earliest time before now."""
        found = self._ask("SELECT * FROM series WHERE state = 'waiting' AND due <= ? ORDER BY due, since LIMIT 1", now)
        return Row(*found[0]) if found else None

    def next_due(self) -> float | None:
        """When one is to be tried."""
        due: float | None = self._ask("SELECT min(due) FROM series WHERE state = 'waiting'")[0][0]
        return due

    def update(self, row: Row, state: State, *, due: float, reason: str) -> None:
        """One more attempt was made."""
        change = "UPDATE series SET state = ?, due = ?, reason = ?, attempts = attempts + 1 WHERE digest = ?"
        self._do(change, state, due, reason, row.digest)

    def retry(self, now: float) -> int:
        """Makes all that waits or was refused due, with patience as if it were new; how many."""
        change = "UPDATE series SET state = 'waiting', attempts = 0, since = ?, due = ? WHERE state <> 'sent'"
        return self._do(change, now, now)

    def counts(self) -> dict[str, int]:
        """Rows by state."""
        return {"waiting": 0, "sent": 0, "refused": 0} | dict(
            self._ask("SELECT state, count(*) FROM series GROUP BY state")
        )

    def unsent(self) -> list[Row]:
        """The oldest of those that wait or were refused."""
        found = self._ask("SELECT * FROM series WHERE state <> 'sent' ORDER BY since LIMIT ?", SHOWN)
        return [Row(*values) for values in found]


# --- clearslice


def announce(row: Row, settings: Settings, context: ssl.SSLContext) -> Answer:
    """Asks clearslice to fetch a series. Expected failures are answers; redirects are not followed, since the key goes
    to nobody else."""
    try:
        key = read_key(settings.key_file)
    except WrongConfiguration as error:
        return Answer(HTTPStatus.UNAUTHORIZED, str(error))
    parts = urlsplit(settings.url)
    body = json.dumps({"peer": settings.peer, "study": row.study, "series": row.series})
    headers = {
        "Authorization": f"Bearer {key}",
        "Idempotency-Key": row.digest,
        "Content-Type": "application/json",
        "Accept": "application/json, application/problem+json",
        "User-Agent": "clearslice-orthanc",
    }
    host, port = str(parts.hostname), parts.port
    connection = (
        http.client.HTTPSConnection(host, port, timeout=TIMEOUT_SECONDS, context=context)
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    )
    try:
        connection.request("POST", f"{parts.path}/v1/pacs/pulls", body, headers)
        response = connection.getresponse()
        reason = _reason(response.status, response.read(MOST_BYTES))
        return Answer(response.status, reason, retry_after(response.getheader("Retry-After"), time.time()))
    except (OSError, http.client.HTTPException) as error:
        return Answer(None, _plain(f"no answer: {error or type(error).__name__}"))
    finally:
        connection.close()


def _reason(status: int, body: bytes) -> str:
    """In a problem document (RFC 9457) the server says what is wrong; of anything else, the status has to do."""
    said = ""
    with contextlib.suppress(ValueError, AttributeError):
        problem = json.loads(body)
        said = str(problem.get("detail") or problem.get("title") or "")
    known = http.client.responses.get(status, "")
    return _plain(f"{status} {known}: {said}" if said else f"{status} {known}")


def _plain(text: str) -> str:
    """One line, of what can be printed, and not too long for a log."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:300].strip()


# --- worker


class Router:
    """Reads changes, and sends what follows from them, in a thread of its own: Orthanc waits for its callbacks.

    Args:
        settings: of the site.
        queue: its own.
        announcing: row -> answer; blocking.
        clock, share: Unix time in s; a number in [0, 1) for each pause.
    """

    def __init__(
        self,
        settings: Settings,
        queue: Queue,
        announcing: Callable[[Row], Answer],
        *,
        clock: Callable[[], float] = time.time,
        share: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._queue = queue
        self._announcing = announcing
        self._clock = clock
        self._share = share
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._cursor: int | None = None
        self._begun_at = 0
        self._read: deque[tuple[float, int]] = deque()
        self._failures = 0
        self._paused_until = 0.0

    def start(self) -> None:
        """Begins; Orthanc must have started."""
        self._thread = threading.Thread(target=self._run, name="clearslice", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends, within `STOP_SECONDS`."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)
            if self._thread.is_alive():
                orthanc.LogWarning("clearslice: a request is still under way; it is repeated after the next start")

    def wake(self) -> None:
        """There may be something to do."""
        self._wake.set()

    def retry(self) -> int:
        """Makes all that was not sent due now; how many."""
        count = self._queue.retry(self._clock())
        self._paused_until = 0.0
        self._wake.set()
        return count

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                seconds = self.step()
            except Exception as error:  # noqa: BLE001 - whatever it is, Orthanc goes on, and so does this
                # a message may hold anything, even of a patient; what is expected to fail here says what is wrong
                expected = (OSError, sqlite3.Error, orthanc.OrthancException)
                orthanc.LogError(
                    f"clearslice: {type(error).__name__} in line {_line(error)}{_told(error, expected)}; "
                    f"tried again in {LOOK_SECONDS:g} s"
                )
                seconds = LOOK_SECONDS
            self._wake.wait(seconds)
            self._wake.clear()

    def step(self) -> float:
        """Reads all new changes and sends one row; seconds until there is more to do."""
        self.read_changes()
        now = self._clock()
        if now < self._paused_until:
            return min(self._paused_until - now, LOOK_SECONDS)
        row = self._queue.next(now)
        if row is not None:
            self.send(row)
            return 0.0
        due = self._queue.next_due()
        return LOOK_SECONDS if due is None else min(max(due - now, 0.0), LOOK_SECONDS)

    def send(self, row: Row) -> None:
        """One attempt, and what follows from the answer."""
        answer = self._announcing(row)
        now = self._clock()
        if answer.kind == "accepted":
            self._failures = 0
            self._queue.update(row, "sent", due=now, reason="")
            orthanc.LogInfo(f"clearslice: series {row.resource} is accepted")
            return
        if answer.kind == "refused" or now - row.since > GIVE_UP_SECONDS:
            tried = "" if answer.kind == "refused" else f"given up after {row.attempts + 1} attempts: "
            self._queue.update(row, "refused", due=now, reason=tried + answer.reason)
            orthanc.LogError(f"clearslice: series {row.resource} is set aside: {tried}{answer.reason}")
            return
        first = FIRST_SECONDS if answer.kind == "down" else SLOW_SECONDS
        self._failures += 1
        wait = max(pause(row.attempts + 1, first, self._share()), answer.wait)
        # the others would most likely fare the same; one of them tries next, in case that it is this one's own fault
        everybody = max(pause(self._failures, FIRST_SECONDS, self._share(), LONGEST_PAUSE_SECONDS), answer.wait)
        self._queue.update(row, "waiting", due=now + wait, reason=answer.reason)
        self._paused_until = now + everybody
        log = orthanc.LogInfo if answer.reason == row.reason else orthanc.LogWarning
        log(f"clearslice: series {row.resource} waits, attempt {row.attempts + 1}, {wait:.0f} s: {answer.reason}")

    def read_changes(self) -> None:
        """Puts the series of all new changes into the queue."""
        cursor = self._begin() if self._cursor is None else self._cursor
        while not self._stopping.is_set():
            page = _get(f"/changes?since={cursor}&limit={PAGE}")
            changes = page["Changes"]
            found = [change["ID"] for change in changes if change["ChangeType"] == "StableSeries"]
            if cursor < self._begun_at:
                found += _series_of([each["ID"] for each in changes if each["ChangeType"] == "NewInstance"])
            for resource in dict.fromkeys(found):
                self._consider(resource)
            cursor = self._cursor = max(cursor, page["Last"])
            if page["Done"] or not changes:
                break
        self._settle(cursor)

    def _begin(self) -> int:
        """Where to go on reading."""
        last = self._begun_at = _get("/changes?last")["Last"]
        position = self._queue.position()
        if position is None:
            self._queue.settle(last)
            orthanc.LogWarning(f"clearslice: a new queue; series are routed that become stable from now on ({last})")
            return int(last)
        first, handled = position
        if last >= handled:
            return handled
        orthanc.LogWarning("clearslice: Orthanc's index was replaced or restored; its changes are read from the start")
        begin = first if last >= first else 0
        self._queue.settle(begin)
        return begin

    def _settle(self, cursor: int) -> None:
        """Moves the lasting position only behind instances whose series had the time to become stable: Orthanc forgets
        the others when it stops."""
        now = time.monotonic()
        if not self._read or self._read[-1][1] < cursor:
            self._read.append((now, cursor))
        settled = None
        while self._read and self._read[0][0] <= now - self._settings.stable_seconds - SLACK_SECONDS:
            settled = self._read.popleft()[1]
        if settled is not None:
            self._queue.settle(settled)

    def _consider(self, resource: str) -> None:
        """Puts a series into the queue if it is stable and wanted."""
        try:
            series = _get(f"/series/{resource}")
            # one that is not stable gets its change, or is found after Orthanc's next start
            if not series["IsStable"] or why_not(series["MainDicomTags"], self._settings) is not None:
                return
            study = _get(f"/series/{resource}/study")
            instances = _get(f"/series/{resource}/instances")
        except orthanc.OrthancException as error:
            if error.args and error.args[0] == orthanc.ErrorCode.UNKNOWN_RESOURCE:
                return  # deleted since
            raise
        uid = series["MainDicomTags"]["SeriesInstanceUID"]
        now = self._clock()
        row = Row(
            digest=digest_of(uid, [each["MainDicomTags"]["SOPInstanceUID"] for each in instances]),
            resource=resource,
            series=uid,
            study=study["MainDicomTags"]["StudyInstanceUID"],
            since=now,
            due=now,
        )
        if self._queue.add(row):
            orthanc.LogInfo(f"clearslice: series {resource} with {len(instances)} instances is to be announced")


def _get(path: str) -> Any:
    return json.loads(orthanc.RestApiGet(path))


def _series_of(instances: list[str]) -> list[str]:
    """The series to which instances belong; those that were deleted since belong to none."""
    if not instances:
        return []
    asked = json.dumps({"Resources": instances, "Level": "Series", "Metadata": False})
    return [series["ID"] for series in json.loads(orthanc.RestApiPost("/tools/bulk-content", asked))]


def _line(error: BaseException) -> int:
    place, line = error.__traceback__, 0
    while place is not None:
        if place.tb_frame.f_code.co_filename == __file__:
            line = place.tb_lineno
        place = place.tb_next
    return line


def _told(error: BaseException, expected: tuple[type[BaseException], ...]) -> str:
    return f": {_plain(str(error))}" if isinstance(error, expected) else ""


# --- Orthanc


def overview(queue: Queue) -> dict[str, Any]:
    """Counts, and the rows that were not sent; nothing of a patient: `series` is Orthanc's own identifier, a hash."""
    rows = [
        {
            "series": row.resource,
            "state": row.state,
            "attempts": row.attempts,
            "since": _moment(row.since),
            "due": _moment(row.due) if row.state == "waiting" else None,
            "reason": row.reason,
        }
        for row in queue.unsent()
    ]
    return {**queue.counts(), "rows": rows}


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def install() -> Router | None:
    """Registers with Orthanc; None, and a line in its log, where the configuration does not allow it."""
    try:
        path = Path(orthanc.GetConfigurationPath()).absolute()
        configuration = json.loads(orthanc.GetConfiguration())
        settings = read_settings(configuration, path if path.is_dir() else path.parent)
        read_key(settings.key_file)
        context = trust(settings)
        queue = Queue(settings.queue_file)
    except WrongConfiguration as error:
        orthanc.LogError(f'clearslice: nothing is routed. Section "Clearslice" of the configuration: {error}')
        return None
    except Exception as error:  # noqa: BLE001 - Orthanc would not start
        orthanc.LogError(f"clearslice: nothing is routed: {type(error).__name__} in line {_line(error)}")
        return None
    router = Router(settings, queue, lambda row: announce(row, settings, context))

    def on_change(change: int, level: int, resource: str) -> None:  # noqa: ARG001 - as Orthanc calls it
        if change == orthanc.ChangeType.STABLE_SERIES:
            router.wake()
        elif change == orthanc.ChangeType.ORTHANC_STARTED:
            router.start()
        elif change == orthanc.ChangeType.ORTHANC_STOPPED:
            router.stop()

    def on_request(output: Any, uri: str, **request: Any) -> None:  # noqa: ARG001 - as Orthanc calls it
        _answer(output, request["method"], request.get("body") or b"", (router, queue))

    orthanc.RegisterOnChangeCallback(on_change)
    orthanc.RegisterRestCallback("/clearslice/queue", on_request)
    orthanc.LogWarning(f"clearslice: series are announced to {settings.url} as of peer {settings.peer!r}")
    return router


def _answer(output: Any, method: str, body: bytes, of: tuple[Router, Queue]) -> None:
    router, queue = of
    if method == "GET":
        output.AnswerBuffer(json.dumps(overview(queue), indent=1), "application/json")
    elif method != "POST":
        output.SendMethodNotAllowed("GET,POST")
    elif _asks_to_retry(body):
        output.AnswerBuffer(json.dumps({"retried": router.retry()}), "application/json")
    else:
        text = '{"error": "the body must be {\\"retry\\": true}"}'
        output.SendHttpStatus(int(HTTPStatus.BAD_REQUEST), text, len(text))


def _asks_to_retry(body: bytes) -> bool:
    try:
        return bool(json.loads(body) == {"retry": True})
    except ValueError:
        return False


ROUTER = install()

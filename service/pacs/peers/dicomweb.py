"""A peer that is reached by DICOMweb: QIDO-RS, STOW-RS and WADO-RS.

    files --up to 32 MiB at once--> STOW-RS --200, 202, 409--> Said of each     PeerRefused PeerUnavailable
    study, series --QIDO-RS, page by page--> SOPInstanceUIDs --WADO-RS, one by one--> DICOM files

dicomweb-client is not used for it, only requests, on which it stands. It decodes and encodes again what it sends and
fetches, so bytes would change, holds whole bodies in memory without a limit, waits and retries by itself where the
outbox has to decide, gives up on 409 before it reads which instances failed, follows redirects, and its errors quote
addresses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

from requests import Response

from service.pacs.configuration import Peer
from service.pacs.peers import PeerRefused, PeerUnavailable, Said, Told
from service.pacs.peers.multipart import Parts, single_part
from service.pacs.peers.outgoing import Outgoing, is_uid, readable
from service.pacs.peers.store_answer import is_store_answer, said_by_instance
from service.pacs.peers.web import JSON, Web, opened, refusal

BODY_BYTES = 32 << 20
"""Of one STOW-RS request, unless a single instance has more: what a crash makes us send twice at most."""

PAGE = 1000
MAX_INSTANCES = 100_000
"""Of one QIDO-RS answer that is asked for, and of all of them together."""

MAX_INSTANCE_BYTES = 1 << 30
"""Of an instance that is fetched, unless the caller says."""

STORED = (HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.CONFLICT)
"""Statuses of STOW-RS whose answers tell of each instance: all, some, none of them stored."""

OF_SOME = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
"""Statuses that may be about one instance of the request (Orthanc answers so), or about their number (proxies)."""

_INSTANCE = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_SOP_INSTANCE, _SERIES, _STUDY = "00080018", "0020000E", "0020000D"


class WebPeer:
    """A peer with a url.

    Args:
        name: in the configuration, and in messages.
        peer: with a url.
    """

    def __init__(self, name: str, peer: Peer) -> None:
        self._name = name
        self._peer = peer

    def echo(self) -> None:
        """Asks for one study by QIDO-RS, whichever.

        Raises:
            PeerUnavailable, PeerRefused: it is not there, is no DICOMweb service, or does not let us in.
        """
        with opened(self._name, self._peer) as web:
            answer = web.ask("GET", "/studies", accept=JSON, params={"limit": "1"})
            answer.close()  # those that ignore the limit send all that they have
            kind = answer.headers.get("Content-Type", "")
            if answer.status_code != HTTPStatus.NO_CONTENT and "json" not in kind.lower():
                raise PeerRefused(f"peer {self._name!r} does not answer QIDO-RS with DICOM JSON: check the url")

    def send(self, files: Sequence[Path], told: Told) -> None:
        """STOW-RS, several files in one request.

        Args:
            files: of one series.
            told: of each that the peer answered for; what an answer does not mention is taken when the status says
                that all is, and is to be sent again otherwise.

        Raises:
            PeerUnavailable: it broke off; those that `told` does not know of are to be sent again.
            PeerRefused: it lets us send nothing.
            OSError: a file cannot be read.
        """
        outgoing = readable(files, told)
        if outgoing:
            with opened(self._name, self._peer) as web:
                for group in _groups(outgoing):
                    self._store(web, group, told)

    def _store(self, web: Web, group: Sequence[Outgoing], told: Told) -> None:
        body = Parts(group)
        statuses = (*STORED, *OF_SOME)
        answer = web.ask("POST", "/studies", accept=JSON, body=body, content_type=body.content_type, expected=statuses)
        if answer.status_code in OF_SOME:
            self._store_fewer(web, group, answer, told)
            return
        unmentioned = Said("taken")
        if answer.status_code != HTTPStatus.OK:
            unmentioned = Said("later", f"{answer.status_code}, and nothing is said of the instance")
        said = {} if _is_xml(answer.headers.get("Content-Type", "")) else _said(web, answer)
        answer.close()
        for each in group:
            told(each.path, said.get(each.sop_instance, unmentioned))

    def _store_fewer(self, web: Web, group: Sequence[Outgoing], answer: Response, told: Told) -> None:
        """One instance of several may be what it does not take, or all at once too much: they are sent by halves."""
        bad = answer.status_code == HTTPStatus.BAD_REQUEST
        if bad and not _tells(web, answer):
            raise refusal(web.name, answer)
        answer.close()
        if len(group) > 1:
            middle = len(group) // 2
            self._store(web, group[:middle], told)
            self._store(web, group[middle:], told)
        elif bad:
            told(group[0].path, Said("refused", "400: it cannot read the instance"))
        else:
            raise refusal(web.name, answer)

    def instances(self, study: str, series: str) -> frozenset[str]:
        """SOPInstanceUIDs of a series, by QIDO-RS; empty: the peer has none of it.

        Raises:
            PeerUnavailable, PeerRefused: it does not tell, or not all.
            ValueError: these are no UIDs.
        """
        _check_uids(study, series)
        with opened(self._name, self._peer) as web:
            return frozenset(uid for uid, *_ in _listed(web, _place(study, series) + "/instances", (_SOP_INSTANCE,)))

    def find_series(self, study: str | None = None, series: str | None = None) -> list[tuple[str, str]]:
        """The series of a study, or the one with a UID, as pairs of StudyInstanceUID and SeriesInstanceUID.

        Args:
            study: StudyInstanceUID; faster, if it is known.
            series: SeriesInstanceUID. At least one of both.

        Raises:
            PeerUnavailable, PeerRefused: it does not tell.
            ValueError: neither is given, or they are no UIDs.
        """
        if study is None and series is None:
            raise ValueError("find_series needs the UID of a study or of a series")
        _check_uids(*(uid for uid in (study, series) if uid is not None))
        place = "/series" if study is None else f"/studies/{study}/series"
        asked = {} if series is None else {"SeriesInstanceUID": series}
        if study is None:
            asked["includefield"] = _STUDY
        with opened(self._name, self._peer) as web:
            tags = (_SERIES,) if study is not None else (_SERIES, _STUDY)
            rows = _listed(web, place, tags, asked)
        found = {(study or row[-1], row[0]) for row in rows}
        # some servers ignore what they are asked for
        return sorted(pair for pair in found if series in (None, pair[1]))

    def fetch(self, study: str, series: str, *, max_bytes: int = MAX_INSTANCE_BYTES) -> Iterator[bytes]:
        """Each instance of a series as a DICOM file, by WADO-RS, in the transfer syntax that the peer has it in.

        Args:
            study, series: StudyInstanceUID and SeriesInstanceUID.
            max_bytes: of one instance, headers of the answer included.

        Raises:
            PeerUnavailable, PeerRefused: it does not tell what there is, does not hand an instance out, or one has
                more bytes.
            ValueError: these are no UIDs.
        """
        found = sorted(self.instances(study, series))
        with opened(self._name, self._peer) as web:
            for instance in found:
                place = f"{_place(study, series)}/instances/{instance}"
                answer = web.ask("GET", place, accept=_INSTANCE, expected=(HTTPStatus.OK,))
                kind = answer.headers.get("Content-Type", "")
                yield single_part(self._name, kind, web.read(answer, max_bytes=max_bytes))


def _tells(web: Web, answer: Response) -> bool:
    """Whether there is an answer of STOW-RS under a status that others have for what is no such request at all."""
    try:
        return is_store_answer(web.read_json(answer))
    except PeerUnavailable:
        return False


def _said(web: Web, answer: Response) -> dict[str, Said]:
    return said_by_instance(web.name, web.read_json(answer))


def _is_xml(content_type: str) -> bool:
    """An answer in the other form of the standard, which some servers give whatever we accept; its status tells."""
    kind = content_type.lower()
    return "dicom+xml" in kind or kind.startswith(("application/xml", "text/xml"))


def _groups(outgoing: Sequence[Outgoing]) -> Iterator[list[Outgoing]]:
    group: list[Outgoing] = []
    size = 0
    for each in outgoing:
        if group and size + each.size > BODY_BYTES:
            yield group
            group, size = [], 0
        group.append(each)
        size += each.size
    yield group


def _listed(web: Web, place: str, tags: tuple[str, ...], asked: dict[str, str] | None = None) -> set[tuple[str, ...]]:
    """The UIDs under `tags` of all that is found, page by page.

    An end is an empty page, or one without anything new: some servers ignore limit and offset and send all each time.
    One that keeps to the limit and ignores the offset cannot be asked for more, which is told instead of hidden.
    """
    found: set[tuple[str, ...]] = set()
    offset = 0
    while True:
        params = {**(asked or {}), "limit": str(PAGE), "offset": str(offset)}
        page = _rows(web, web.read_json(web.ask("GET", place, accept=JSON, params=params)), tags)
        if set(page) <= found:
            if len(page) == PAGE:
                raise PeerRefused(f"peer {web.name!r} ignores the offset of QIDO-RS, so it does not tell all it has")
            return found
        found.update(page)
        offset += len(page)
        if len(found) > MAX_INSTANCES:
            raise PeerRefused(f"peer {web.name!r} lists more than {MAX_INSTANCES} instances")


def _rows(web: Web, page: Any, tags: tuple[str, ...]) -> list[tuple[str, ...]]:
    try:
        rows = [tuple(item[tag]["Value"][0] for tag in tags) for item in page or ()]
    except (KeyError, IndexError, TypeError):
        rows = [("",)]
    if not all(is_uid(uid) for row in rows for uid in row):
        raise PeerUnavailable(f"peer {web.name!r} answers QIDO-RS with something else")
    return rows


def _place(study: str, series: str) -> str:
    return f"/studies/{study}/series/{series}"


def _check_uids(*uids: str) -> None:
    for uid in uids:
        if not is_uid(uid):
            raise ValueError(f"{uid[:64]!r} is no UID")

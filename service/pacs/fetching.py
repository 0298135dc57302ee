"""One attempt to fetch a series from a peer by DICOMweb, instance by instance; blocking.

    peer --WADO-RS--(to be stopped?)--> arrivals --> Fetched
                     Stopped               |  PeerUnavailable NoRoom: what came stays, and is not whole yet
                                           +--> PeerRefused, or what cannot be read: holes in the series

Without the holes, what came of a series before its peer refused the rest would look whole.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from pydicom.filereader import read_file_meta_info

from imaging.dicom_attributes import text
from imaging.errors import ImagingError
from service.pacs.arrivals import SENDER_LENGTH, Arrivals
from service.pacs.audit.codes import Outcome
from service.pacs.audit.facts import Party
from service.pacs.audit.trail import Trail
from service.pacs.configuration import Configuration
from service.pacs.errors import NoRoom, NotTaken
from service.pacs.peers import PeerError, PeerRefused
from service.pacs.peers.dicomweb import WebPeer
from service.pacs.series_folder import SeriesFolder
from service.pacs.visit import Visit, who
from service.settings import Settings


class Stopped(Exception):
    """The program ends; the rest is fetched by the next one."""


@dataclass
class Fetched:
    """What became of the instances of a series.

    Attributes:
        taken: how many.
        reasons: why the others were not taken, one for each.
        unreadable: how many of these should have been taken, but are no sound images.
        left_out: UIDs of those that this node does not take, by its rules or their class.
    """

    taken: int = 0
    reasons: list[str] = field(default_factory=list)
    unreadable: int = 0
    left_out: set[str] = field(default_factory=set)


class Fetching:
    """Of one node.

    Args:
        arrivals: where instances go.
        configuration: of the node: which peers there are.
        settings: of the app: how large an instance may be.
        trail: where it is told what was fetched.
        told: of each instance, what was said of it.
    """

    def __init__(
        self,
        arrivals: Arrivals,
        configuration: Configuration,
        settings: Settings,
        *,
        trail: Trail,
        told: Callable[[str], object],
    ) -> None:
        self._arrivals = arrivals
        self._configuration = configuration
        self._settings = settings
        self._trail = trail
        self._told = told
        self._stopping = threading.Event()

    def stop(self) -> None:
        """What is being fetched ends with the instance that is on its way."""
        self._stopping.set()

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop."""
        return self._stopping.is_set()

    def fetch(self, name: str, study: str, series: str) -> Fetched:
        """Fetches a series.

        Args:
            name: of a DICOMweb peer.
            study: StudyInstanceUID; empty: the peer is asked.
            series: SeriesInstanceUID.

        Raises:
            PeerRefused: the peer has no such series, or does not give it; holes are noted.
            PeerUnavailable, NoRoom: not now.
            Stopped: so was `stop`.
        """
        described = self._configuration.peers[name]
        peer = WebPeer(name, described)
        party = Party(user=name, host=described.url or "", name=name)
        visit = Visit(self._arrivals, name, told=self._told)
        fetched = Fetched()
        try:  # holes are noted before it leaves: until then nobody closes the series
            self._take_all(peer, visit, study, series, fetched=fetched)
            self._note_end(name, study, series, fetched)
        except PeerError as error:
            self._trail.queried(party, party.host, outcome=Outcome.SERIOUS, reason=str(error))
            if isinstance(error, PeerRefused):
                self.give_up(name, study, series, str(error), left_out=fetched.left_out)
            raise
        finally:
            visit.leave(self._trail, party, pulled=True)
        return fetched

    def _take_all(self, peer: WebPeer, visit: Visit, study: str, series: str, *, fetched: Fetched) -> None:
        if self.stopped:
            raise Stopped
        study = study or _study_of(peer, series)
        for data in peer.fetch(study, series, max_bytes=self._settings.max_upload_bytes):
            if self.stopped:
                raise Stopped
            try:
                visit.take(data, study)
            except NoRoom:
                raise
            except NotTaken as error:
                fetched.reasons.append(str(error))
                known = who(data, self._settings.limits())
                fetched.left_out.update(() if known is None else known[1:])
            except ImagingError as error:
                fetched.reasons.append(str(error))
                fetched.unreadable += 1
            else:
                fetched.taken += 1
        if not fetched.taken and not fetched.reasons:
            raise PeerRefused("it has no such series, or nothing in it")

    def _note_end(self, name: str, study: str, series: str, fetched: Fetched) -> None:
        """Of a series that came to its end: what could not even be read left no hole yet, and what an attempt before
        could not tell is known now."""
        folder = self._arrivals.series(series)
        noted = folder.refused().keys() & {series, *fetched.left_out}
        with _disk():
            for uid in noted:
                folder.forgive(uid)
        if fetched.unreadable:
            self.give_up(name, study, series, fetched.reasons[0], left_out=fetched.left_out)

    def give_up(self, name: str, study: str, series: str, reason: str, *, left_out: Collection[str] = ()) -> None:
        """Notes holes in a series of which some came and no more will: one for each instance that the peer lists; where
        it does not tell, one under the UID of the series.

        Args:
            name, study, series: as of `fetch`; the peer need not be configured any more.
            reason: why no more will.
            left_out: UIDs of instances that are not missed.

        Raises:
            NoRoom: the disk refuses it.
        """
        folder = self._arrivals.series(series)
        with _disk():
            if not self._arrivals.arriving_marker(series).exists() or not _brought(folder, name):
                return
        listed = self._listed(name, study, series)
        with _disk(), folder.written():
            missing = listed - {*folder.sources(), *folder.known(), *folder.refused(), *left_out}
            for uid in sorted(missing) if listed else [series]:
                folder.refuse(uid, reason)

    def _listed(self, name: str, study: str, series: str) -> frozenset[str]:
        """What the peer has of a series; empty: nothing, or it does not tell."""
        if name not in self._configuration.peers:
            return frozenset()
        peer = WebPeer(name, self._configuration.peers[name])
        with contextlib.suppress(PeerError):
            return peer.instances(study or _study_of(peer, series), series)
        return frozenset()


@contextlib.contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NoRoom(f"the disk of this node failed: {error.strerror}; try again later") from None


def _brought(series: SeriesFolder, sender: str) -> bool:
    """Whether any instance of a series that lies here came from a sender."""
    for uid in series.sources():
        with contextlib.suppress(FileNotFoundError):
            if text(read_file_meta_info(series.source(uid)), "SourceApplicationEntityTitle") == sender[:SENDER_LENGTH]:
                return True
    return False


def _study_of(peer: WebPeer, series: str) -> str:
    found = peer.find_series(series=series)
    if not found:
        raise PeerRefused("it has no such series")
    return found[0][0]

"""`clearslice pacs send | pull | reconstruct`: one series by hand, with progress, and no server.

    folder --send--> peer        peer --pull--> folder        peer --pull--> restored on this machine --send--> peer

Expected errors become one line on standard error and status 1.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clearslice.commands.pacs import ConfigOption, configured

if TYPE_CHECKING:
    from service.pacs.configuration import Configuration

SeriesArgument = Annotated[str, typer.Argument(metavar="SERIES", help="SeriesInstanceUID.")]
StudyOption = Annotated[str, typer.Option(help="StudyInstanceUID; without, the peer is asked for it.")]
PeerArgument = Annotated[str, typer.Argument(metavar="PEER", help="Its name in pacs.toml.")]


def send(
    source: Annotated[Path, typer.Argument(metavar="IN", exists=True, help="A DICOM file, or a folder of them.")],
    peer: PeerArgument,
    *,
    config: ConfigOption = None,
) -> None:
    """Send DICOM files to a peer as they are, by C-STORE or STOW-RS, and say what it said of them.

    `compress` of the peer does not count here; one with `deidentify` gets nothing this way.
    """
    from clearslice.commands.terminal import expected_errors
    from service.errors import ServiceError
    from service.pacs.peers import PeerError

    with expected_errors(ServiceError, PeerError, OSError):
        if not _send(configured(config), source, peer):
            raise typer.Exit(1)


def pull(
    peer: PeerArgument,
    series: SeriesArgument,
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write; made if need be.")],
    *,
    study: StudyOption = "",
    config: ConfigOption = None,
) -> None:
    """Fetch a series from a DICOMweb peer into a folder, one file for each instance, as the peer has it."""
    from clearslice.commands.terminal import expected_errors
    from service.errors import ServiceError
    from service.pacs.peers import PeerError

    with expected_errors(ServiceError, PeerError, OSError):
        _pull(configured(config), peer, (study, series), target)


def reconstruct(
    peer: PeerArgument,
    series: SeriesArgument,
    *,
    to: Annotated[str, typer.Option(help="Name of the peer that gets the derived series; default: PEER itself.")] = "",
    model: Annotated[str | None, typer.Option(help="Model ref, as in ct-l2@3; auto: by its noise.")] = None,
    strength: Annotated[float, typer.Option(min=0, max=1, help="0 gives the image back, 1 the model's answer.")] = 1.0,
    study: StudyOption = "",
    config: ConfigOption = None,
) -> None:
    """Fetch a series from a peer, restore it on this machine, and send the derived series back. Nothing stays here.

    For a try, or for a series that is long in the archive. The node does the same with what it is sent, and survives
    crashes meanwhile; this does not.
    """
    from clearslice.commands.reconstruct import reconstruct as reconstruct_folder
    from clearslice.commands.terminal import expected_errors
    from service.errors import ServiceError
    from service.pacs.peers import PeerError

    with expected_errors(ServiceError, PeerError, OSError), tempfile.TemporaryDirectory(prefix="clearslice-") as folder:
        configuration = configured(config)
        _check_target(configuration, to or peer)
        source, derived = Path(folder, "source"), Path(folder, "derived")
        _pull(configuration, peer, (study, series), source)
        reconstruct_folder(source, derived, model=model, strength=strength)
        if not _send(configuration, derived, to or peer):
            raise typer.Exit(1)


def _pull(configuration: Configuration, name: str, uids: tuple[str, str], target: Path) -> None:
    from clearslice.commands.terminal import ERRORS, stage_bars
    from service.files import write_file
    from service.pacs.peers import PeerRefused
    from service.pacs.peers.dicomweb import WebPeer
    from service.pacs.series_folder import is_file_name

    peer = configuration.peers.get(name)
    if peer is None or peer.kind != "dicomweb":
        raise typer.BadParameter(f"{name} is no DICOMweb peer (url) of pacs.toml, and a series is fetched by WADO-RS")
    study, series = uids
    if not is_file_name(series) or (study and not is_file_name(study)):
        raise typer.BadParameter("UIDs are digits and dots, at most 64 of them")
    web = WebPeer(name, peer)
    study = study or next((found for found, _ in web.find_series(series=series)), "")
    count = len(web.instances(study, series)) if study else 0
    if not count:
        raise PeerRefused(f"peer {name!r} has no series {series}")
    target.mkdir(parents=True, exist_ok=True)
    with stage_bars() as advance:
        for number, data in enumerate(web.fetch(study, series), start=1):
            write_file(target / f"{number:05d}.dcm", data, replace=False)
            advance(f"from {name}", number, count)
    ERRORS.print(f"{count} instances from {name}")


def _check_target(configuration: Configuration, name: str) -> None:
    """Raises typer.BadParameter where nothing may be sent from here, before any work is done."""
    from service.pacs.outboxes import reachable

    if name not in reachable(configuration):
        raise typer.BadParameter(f"{name} is no peer of pacs.toml that something can be sent to")
    if configuration.peers[name].deidentify:
        raise typer.BadParameter(
            f"{name} gets instances without identities only, which the node makes; send to the node"
        )


def _send(configuration: Configuration, source: Path, name: str) -> bool:
    """Whether all was taken."""
    from rich.markup import escape

    from clearslice.commands.terminal import ERRORS, stage_bars
    from service.pacs.peers.clients import client_of

    _check_target(configuration, name)
    paths = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
    files = [path for path in paths if _is_dicom(path)]
    if not files:
        raise typer.BadParameter(f"there is no DICOM file in {source}")
    said: list[tuple[Path, Any]] = []
    with stage_bars() as advance:

        def told(path: Path, verdict: Any) -> None:
            said.append((path, verdict))
            advance(f"to {name}", len(said), len(files))

        client_of(name, configuration).send(files, told)
    for path, verdict in said:
        if verdict.reason:
            ERRORS.print(escape(f"{verdict.verdict} {path}: {verdict.reason}"))
    counts = Counter(verdict.verdict for _, verdict in said)
    ERRORS.print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    return counts["taken"] == len(files)


def _is_dicom(path: Path) -> bool:
    from imaging.dicom_file import MAGIC, PREAMBLE_LENGTH, looks_like_dicom

    with path.open("rb") as file:
        return looks_like_dicom(file.read(PREAMBLE_LENGTH + len(MAGIC)))

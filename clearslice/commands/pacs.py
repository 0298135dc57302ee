"""`clearslice pacs`: the PACS node, on the command line.

    listen             receives without the rest
    check, explain     pacs.toml --> what it says, and what would happen to a series
    status             spool --> what the node is at            requeue, discard, quarantine   what went wrong

What an administrator asks here goes through the spool, so that who may write into it needs no key. Expected errors
become one line on standard error and status 1.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from service.pacs.configuration import Configuration
    from service.pacs.live import LiveJob

app = typer.Typer(
    name="pacs",
    help=(
        "Run and look after the PACS node: series come in, their reconstructions go out.\n\n"
        "Write pacs.toml, and look at it:    clearslice pacs check pacs.toml\n\n"
        "Run the node:                       CLEARSLICE_PACS=pacs.toml CLEARSLICE_SPOOL=spool clearslice serve\n\n"
        "What is it at:                      clearslice pacs status\n\n"
        "Send dead letters once more:        clearslice pacs requeue --all\n\n"
        "Every command takes pacs.toml and the spool from CLEARSLICE_PACS and CLEARSLICE_SPOOL unless told otherwise."
    ),
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

quarantine_app = typer.Typer(
    help="Instances whose UID had come before with other content. Neither of the two can be known to be right.",
    no_args_is_help=True,
)
app.add_typer(quarantine_app, name="quarantine")

PATIENCE_SECONDS = 10.0
"""How long a command waits for the node to do what was asked."""

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", envvar="CLEARSLICE_PACS", help="pacs.toml.", show_default=False),
]
SpoolOption = Annotated[
    Path | None,
    typer.Option("--spool", metavar="DIR", envvar="CLEARSLICE_SPOOL", help="Of the server.", show_default=False),
]


def configured(config: Path | None) -> Configuration:
    """The configuration.

    Raises:
        typer.BadParameter: none is named.
        InvalidConfiguration: it has a mistake.
    """
    from service.pacs.configuration import read_configuration

    if config is None:
        raise typer.BadParameter("name pacs.toml with --config, or in CLEARSLICE_PACS")
    return read_configuration(config)


def _node_folder(spool: Path | None) -> Path:
    from service.pacs.arrivals import folder_of

    if spool is None:
        raise typer.BadParameter("name the spool of the server with --spool, or in CLEARSLICE_SPOOL")
    folder = folder_of(spool)
    if not folder.is_dir():
        raise typer.BadParameter(f"{spool} has no PACS node in it: none has run with this spool yet")
    return folder


@app.command("listen")
def listen_command(config: ConfigOption = None, spool: SpoolOption = None) -> None:
    """Receive only: instances go into the spool, and a server with the same spool makes something of them.

    It loads no models, needs little memory, and goes on while the server is down or restarts. Set `apart = true` in
    pacs.toml, so that the server leaves the port alone. SIGTERM ends it.
    """
    from clearslice.commands.serve import read_settings
    from clearslice.commands.terminal import expected_errors
    from service.errors import ServiceError
    from service.pacs.listening import listen
    from service.telemetry import configure_logging

    settings = read_settings({})
    with expected_errors(ServiceError):
        configuration = configured(config)
        if spool is None:
            raise typer.BadParameter("name the spool of the server with --spool, or in CLEARSLICE_SPOOL")
        configure_logging(settings.log_level)
        listen(configuration, spool, settings)


@app.command("check")
def check(
    config: Annotated[Path, typer.Argument(metavar="FILE", envvar="CLEARSLICE_PACS", help="pacs.toml.")],
    *,
    echo: Annotated[bool, typer.Option("--echo", help="Ask every peer whether it is there and lets us in.")] = False,
) -> None:
    """Read pacs.toml as the server does, and say what is in it, or what is wrong with it."""
    from clearslice.commands.terminal import expected_errors
    from service.errors import InvalidConfiguration

    with expected_errors(InvalidConfiguration):
        configuration = configured(config)
    node = configuration.node
    where = f"takes associations on {node.host}:{node.port}" if node.port is not None else "takes no associations"
    typer.echo(f"node {node.aet} {where}; a series is complete after {node.quiet_seconds:g} s of silence")
    for name, peer in configuration.peers.items():
        called = f"{peer.aet}@{peer.host}:{peer.port}" if peer.port is not None else f"{peer.aet}, which only calls"
        place = peer.url or peer.folder or called
        may = ", may send" if peer.may_send else ""
        typer.echo(f"peer {name}: {peer.kind} {place}{may}, verified by {peer.verification}")
    for number, rule in enumerate(configuration.rules, start=1):
        does = f"{rule.model or 'the default model'} -> {', '.join(rule.to)}" if rule.to else rule.action
        typer.echo(f"rule {number} {rule.name!r}: {does}")
    if not any(rule.action == "refuse" for rule in configuration.rules):
        typer.echo("what no rule fits is refused")
    if echo and not _echo_all(configuration):
        raise typer.Exit(1)


def _echo_all(configuration: Configuration) -> bool:
    from service.pacs.outboxes import reachable
    from service.pacs.peers import PeerError
    from service.pacs.peers.clients import client_of

    fine = True
    for name in reachable(configuration):
        begin = time.monotonic()
        try:
            client_of(name, configuration).echo()
        except PeerError as error:
            fine = False
            typer.echo(f"peer {name}: {error}", err=True)
        else:
            typer.echo(f"peer {name} answers, in {1000 * (time.monotonic() - begin):.0f} ms")
    return fine


@app.command("explain")
def explain(
    path: Annotated[Path, typer.Argument(metavar="SERIES", exists=True, help="A DICOM file, or a folder or archive.")],
    *,
    config: ConfigOption = None,
    sender: Annotated[str, typer.Option(help="AE title of who would send it.")] = "",
) -> None:
    """Say which rule of pacs.toml a series would fall under, and why. Nothing is sent, and nothing kept."""
    from clearslice.commands.terminal import expected_errors
    from imaging.archive import ArchiveLimits
    from imaging.ct_files import LeftOut, ct_files
    from imaging.errors import ImagingError
    from service.errors import ServiceError
    from service.jobs.accept import KINDS
    from service.pacs.routing import decide, facts_of

    with expected_errors(ImagingError, ServiceError, OSError):
        rules = configured(config).rules
        seen: dict[str, str] = {}
        left_out = LeftOut()
        for _, _, dataset in ct_files(path, ArchiveLimits(), left_out, kinds=KINDS):
            if str(dataset.SeriesInstanceUID) in seen:
                continue
            decision = decide(rules, facts_of(dataset, sender))
            seen[str(dataset.SeriesInstanceUID)] = str(decision)
            typer.echo(f"series {dataset.SeriesInstanceUID}: {decision}")
            for tried in decision.tried:
                typer.echo(f"  {tried}")
        if not seen:
            raise left_out.refusal()


@app.command("status")
def status(
    *,
    spool: SpoolOption = None,
    state: Annotated[str, typer.Option(help="Only series in this state, such as dead or failed.")] = "",
    json_: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say what the node is at: series, how far they are, where they went, and why they did not.

    It reads the spool, so that it works whether the server runs or not.
    """
    import json

    from service.pacs.live import describe
    from service.pacs.overview import overview
    from service.pacs.pulls import read_pulls

    folder = _node_folder(spool)
    jobs, arrivals = _read_jobs(folder)
    shown = [live for live in jobs if state in ("", live.state)]
    counts = overview(jobs, arrivals)
    if json_:
        typer.echo(json.dumps({**counts, "jobs": [describe(live) for live in shown]}, indent=1))
        return
    _print_jobs(shown)
    for each in read_pulls(folder):
        if each.state != "done" and state in ("", each.state):
            why = f": {each.reason}" if each.reason else ""
            typer.echo(f"{each.id}  pull {each.state}  series {each.series} from {each.peer}{why}")
    for what, numbers in (("instances", counts["instances"]), ("series", counts["series"])):
        told = ", ".join(f"{count} {name}" for name, count in numbers.items() if count) or "none"
        typer.echo(f"{what}: {told}")


def _read_jobs(folder: Path) -> tuple[list[LiveJob], Any]:
    from service.pacs.arrivals import Arrivals
    from service.pacs.configuration import Configuration
    from service.pacs.job_folder import jobs_of
    from service.pacs.live import LiveJob
    from service.settings import Settings

    arrivals = Arrivals(folder, Configuration(), Settings())
    jobs = [LiveJob.read(job) for series in arrivals.all_series() for job in jobs_of(series)]
    return sorted(jobs, key=lambda live: live.job.created, reverse=True), arrivals


def _print_jobs(jobs: list[LiveJob]) -> None:
    for live in jobs:
        job = live.job
        made = f"{live.done}/{job.count} by {job.model}" if job.count else "nothing to restore"
        typer.echo(f"{job.id}  {live.state}  {made}, rule {job.rule!r}, series {job.series}")
        if live.ended is not None and live.ended.state == "failed" and live.ended.problem is not None:
            typer.echo(f"  {live.ended.problem['detail']}")
        for each in live.deliveries.values():
            due = f", again at {each.due:%H:%M:%S}" if each.due is not None else ""
            why = f": {each.reason}" if each.reason else ""
            typer.echo(f"  to {each.peer}: {each.state}{due}{why}")


@app.command("requeue")
def requeue(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Of series, as status lists them.")] = None,
    *,
    all_: Annotated[bool, typer.Option("--all", help="Everything that has failed or is dead.")] = False,
    spool: SpoolOption = None,
) -> None:
    """Try what has failed, or is a dead letter, once more.

    What was restored is not made again: a dead letter is sent as it was. A series that was not whole is looked at anew.
    """
    _ask("requeue", ids or [], everything=all_, spool=spool)


@app.command("discard")
def discard(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Of series, as status lists them.")],
    *,
    spool: SpoolOption = None,
) -> None:
    """Remove the images of what has failed, or is a dead letter."""
    _ask("discard", ids, everything=False, spool=spool)


def _ask(what: Any, ids: list[str], *, everything: bool, spool: Path | None) -> None:
    from service.pacs.requests import AdminRequest, AdminRequests

    folder = _node_folder(spool)
    jobs, _ = _read_jobs(folder)
    wrong = {live.job.id: live for live in jobs if live.state in ("failed", "dead")}
    if everything:
        ids = list(wrong)
    for job_id in ids:
        if job_id not in wrong:
            raise typer.BadParameter(f"{job_id} is no series that has failed or is dead")
    requests = AdminRequests(folder)
    asked = {job_id: requests.put(AdminRequest(what, job_id)) for job_id in ids}
    end = time.monotonic() + PATIENCE_SECONDS
    while any(place.exists() for place in asked.values()) and time.monotonic() < end:
        time.sleep(0.1)
    waiting = {job_id for job_id, place in asked.items() if place.exists()}
    reasons = {job_id: requests.refusal(place) for job_id, place in asked.items() if job_id not in waiting}
    refused = {job_id: reason for job_id, reason in reasons.items() if reason is not None}
    done = {"requeue": "requeued", "discard": "discarded"}[what]
    typer.echo(f"{len(reasons) - len(refused)} {done}")
    for job_id, reason in refused.items():
        typer.echo(f"{job_id} is not {done}: {reason}", err=True)
    if waiting:
        typer.echo(f"{len(waiting)} wait until a server runs with this spool", err=True)
    if refused:
        raise typer.Exit(1)


@quarantine_app.command("list")
def quarantine_list(*, spool: SpoolOption = None) -> None:
    """What is there, and why."""
    for each in _quarantine(spool).index():
        typer.echo(f"{each['id']}  {each['received']}  series {each['series']}  instance {each['instance']}")
        typer.echo(f"  {each['reason']}")


@quarantine_app.command("fetch")
def quarantine_fetch(
    identity: Annotated[str, typer.Argument(metavar="ID", help="As list shows it.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write.")],
    *,
    spool: SpoolOption = None,
) -> None:
    """Copy an instance out of quarantine, to look at it."""
    from clearslice.commands.terminal import expected_errors
    from service.errors import ServiceError
    from service.files import write_file

    with expected_errors(ServiceError, OSError):
        write_file(target, _quarantine(spool).find(identity).read_bytes(), replace=False)


@quarantine_app.command("discard")
def quarantine_discard(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="As list shows them.")], *, spool: SpoolOption = None
) -> None:
    """Remove instances from quarantine, for good."""
    from clearslice.commands.terminal import expected_errors
    from service.errors import ServiceError

    with expected_errors(ServiceError, OSError):
        for identity in ids:
            _quarantine(spool).remove(identity)


def _quarantine(spool: Path | None) -> Any:
    from service.pacs.quarantine import Quarantine

    return Quarantine(_node_folder(spool) / "quarantine")

"""`clearslice models`: look into a model store, and change what its labels mean.

    list, show, verify     read: the shipped versions, with those of --store over them
    promote, default, remove     write: to --store only

Expected errors become one line on standard error and status 1; a malformed REF is a usage error, status 2.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from model_store.store import ModelStore, ModelVersion

app = typer.Typer(
    name="models",
    help=(
        "List, inspect, check and label model versions.\n\n"
        "A REF names a version: **ct-l2@3** by number, **ct-l2@stable** by label, and **ct-l2** alone means its label"
        " *stable* (or its highest version, if it has no such label)."
    ),
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

EXPECTED_STATUS = 1
USAGE_STATUS = 2

ReadStore = Annotated[
    Path | None,
    typer.Option(
        "--store",
        envvar="CLEARSLICE_STORE",
        metavar="DIR",
        exists=True,
        file_okay=False,
        help="Your model store, looked at before the models that ship with the project. Without it: only those.",
    ),
]
WriteStore = Annotated[
    Path | None,
    typer.Option(
        "--store",
        envvar="CLEARSLICE_STORE",
        metavar="DIR",
        file_okay=False,
        help="Your model store, where the change is written; made if need be. The shipped models never change.",
    ),
]
RefArgument = Annotated[
    str, typer.Argument(metavar="REF", help="A model ref: ct-l2, ct-l2@3 or ct-l2@stable.", show_default=False)
]


@app.command("list")
def list_models(
    *,
    store: ReadStore = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a table.")] = False,
) -> None:
    """List every version with its labels; the default model is marked with *."""
    with _expected_errors():
        opened = open_store(store)
        rows = [row for name in opened.names() for row in _rows(opened, name)]
        if as_json:
            typer.echo(json.dumps({"default": _default(opened), "versions": rows}, indent=2))
        elif rows:
            _print_table(rows, _default_version(opened))
        else:
            typer.echo("No models here. Train one with: clearslice train --help", err=True)


@app.command("show")
def show(ref: RefArgument, *, store: ReadStore = None) -> None:
    """Print the manifest and the model card of a version."""
    with _expected_errors():
        from model_store.version import CARD_FILE

        version = open_store(store).resolve(ref)
        typer.echo(version.manifest.model_dump_json(indent=2))
        with contextlib.suppress(FileNotFoundError):  # `verify` reports it
            typer.echo("\n" + (version.path / CARD_FILE).read_text(encoding="utf-8", errors="replace").rstrip())


@app.command("verify")
def verify(ref: RefArgument, *, store: ReadStore = None) -> None:
    """Check every file's hash, and that this machine's device reproduces the golden sample in each precision."""
    with _expected_errors():
        from model_store.verify import verify_version

        version = open_store(store).resolve(ref)
        lines = verify_version(version)
        typer.echo(f"{version.ref}: all {len(version.manifest.files)} files are as published")
        for line in lines:
            typer.echo(f"{version.ref}: {line}")


@app.command("promote")
def promote(
    ref: RefArgument,
    label: Annotated[str, typer.Argument(metavar="LABEL", help="The label, as in stable or canary.")],
    *,
    weight: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Of the label canary: the share of DICOM series, 0 to 1, that a server gives to it where the sender"
            " names the model without a version. A series never mixes versions.",
        ),
    ] = None,
    store: WriteStore = None,
) -> None:
    """Point LABEL at the version that REF names; running servers follow it. Promote the old version to go back."""
    from model_store.store import CANARY

    if weight is not None and label != CANARY:
        raise typer.BadParameter(f"only the label {CANARY} has a weight", param_hint="--weight")
    with _expected_errors():
        opened = open_store(store)
        version = opened.resolve(ref)
        opened.promote(version.name, label, version.version, weight=weight)
        typer.echo(f"{version.name}@{label} is now {version.ref}")
        if label == CANARY:
            share = opened.canary_weight(version.name)
            typer.echo(f"it gets {100 * share:g} % of the series whose senders name no version")


@app.command("default")
def default(ref: RefArgument, *, store: WriteStore = None) -> None:
    """Choose the model that is used when nobody names one. With a label (ct-l2@stable) it follows the label."""
    with _expected_errors():
        opened = open_store(store)
        opened.set_default(ref)
        typer.echo(f"the default model is now {ref} (at present {opened.resolve(ref).ref})")


@app.command("remove")
def remove(
    ref: Annotated[
        str, typer.Argument(metavar="REF", help="The version by number, as in ct-l2@3.", show_default=False)
    ],
    *,
    store: WriteStore = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a version from your store for good. One that has a label or is the default is not deleted."""
    with _expected_errors():
        from model_store.refs import parse_ref

        parsed = parse_ref(ref)
        if parsed.version is None:
            raise typer.BadParameter(
                f"name the version to delete by its number, as in {parsed.name}@3", param_hint="REF"
            )
        opened = open_store(store)
        if not yes:
            typer.confirm(f"Delete {ref} and its files? This cannot be undone", abort=True)
        opened.remove(parsed.name, parsed.version)
        typer.echo(f"{ref} is deleted")


@contextlib.contextmanager
def _expected_errors() -> Iterator[None]:
    """What a user can cause becomes one line on standard error; bugs keep their traceback."""
    from model_store.errors import InvalidRef, ModelStoreError

    try:
        yield
    except ModelStoreError as error:
        typer.echo(f"clearslice: {error}", err=True)
        raise typer.Exit(USAGE_STATUS if isinstance(error, InvalidRef) else EXPECTED_STATUS) from error


def open_store(store: Path | None) -> ModelStore:
    """The store at `store` over the shipped one; naming the shipped folder itself opens it for writing."""
    from model_store.store import PUBLISHED, ModelStore

    shipped = store is not None and store.resolve() == PUBLISHED.resolve()
    return ModelStore(store, None if shipped else PUBLISHED)


def _rows(store: ModelStore, name: str) -> list[dict[str, Any]]:
    """One row per version of a model; a model whose label file is damaged says so and hides no other."""
    from model_store.errors import RefusedVersion

    try:
        return [_row(store, name, number) for number in store.versions(name)]
    except RefusedVersion as error:
        return [{"ref": name, "labels": [], "refused": str(error)}]


def _row(store: ModelStore, name: str, number: int) -> dict[str, Any]:
    """One version for the table and for JSON; a version that cannot be read says so and hides no other."""
    from model_store.errors import RefusedVersion

    labels = [label for label, target in store.labels(name).items() if target == number]
    row: dict[str, Any] = {"ref": f"{name}@{number}", "labels": labels}
    try:
        version = store.resolve(f"{name}@{number}")
    except RefusedVersion as error:
        return {**row, "refused": str(error)}
    manifest = version.manifest
    return {
        **row,
        "domain": manifest.domain,
        "recipe": manifest.recipe,
        "parameters": manifest.parameters,
        "bytes": sum(path.stat().st_size for path in version.path.rglob("*") if path.is_file()),
        "score": _headline(version),
    }


def _headline(version: ModelVersion) -> dict[str, Any] | None:
    """The first score of the manifest, which its exporter puts first because it matters most."""
    if not version.manifest.scores:
        return None
    score = version.manifest.scores[0]
    return {
        "metric": score.metric,
        "contract": score.contract.name,
        "degradation": score.degradation,
        "restored": score.restored,
        "degraded": score.degraded,
    }


def _default(store: ModelStore) -> str | None:
    from model_store.errors import UnknownModel

    try:
        return store.default_ref()
    except UnknownModel:
        return None


def _default_version(store: ModelStore) -> str | None:
    """The ref, with its number, of the version that the default means now; None if it means none."""
    from model_store.errors import ModelStoreError

    with contextlib.suppress(ModelStoreError):
        return store.resolve(store.default_ref()).ref
    return None


def _print_table(rows: list[dict[str, Any]], default_version: str | None) -> None:
    from rich.console import Console
    from rich.filesize import decimal
    from rich.markup import escape
    from rich.table import Table

    table = Table("ref", "labels", "domain", "recipe", "score")
    table.add_column("parameters", justify="right")
    table.add_column("size", justify="right")
    for row in rows:
        ref = row["ref"] + (" *" if row["ref"] == default_version else "")
        if "refused" in row:
            table.add_row(
                ref, ", ".join(row["labels"]), "", "", f"[red]refused: {escape(row['refused'])}[/red]", "", ""
            )
            continue
        score = row["score"]
        text = "" if score is None else f"{score['metric']} {score['degraded']:.4g} -> {score['restored']:.4g}"
        table.add_row(
            ref,
            ", ".join(row["labels"]),
            row["domain"],
            escape(row["recipe"]),
            escape(text),
            f"{row['parameters']:,}",
            decimal(row["bytes"]),
        )
    Console().print(table)

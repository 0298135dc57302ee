"""`clearslice keys`: make API keys, and look at a keys file.

    new:   random key --> standard output, once; its hash --> line for the file (CLEARSLICE_API_KEYS_FILE)
    check: file --> names and scopes, or the line that is wrong

Expected errors become one line on standard error and status 1.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="keys",
    help=(
        "Make API keys for a server that other machines reach.\n\n"
        "Make one:      clearslice keys new --name pacs --scope reconstruct --file keys\n\n"
        "Serve:         CLEARSLICE_API_KEYS_FILE=keys clearslice serve --host 0.0.0.0\n\n"
        "Use it:        curl -H 'Authorization: Bearer KEY' ...\n\n"
        "The file holds one line per key: its name, its scopes and its hash. To revoke a key, delete its line. A"
        " running server notices changes within seconds. To rotate, add a second key, give it to the client, and delete"
        " the first."
    ),
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


class ScopeOption(StrEnum):
    """The values of `service.keys.Scope`, which is not imported for --help."""

    read = "read"
    reconstruct = "reconstruct"
    admin = "admin"


@app.command("new")
def new(
    *,
    name: Annotated[
        str,
        typer.Option(
            help="Of the client that will use the key; shown in logs and figures. A-Z a-z 0-9 . _ -", show_default=False
        ),
    ],
    scope: Annotated[
        list[ScopeOption],
        typer.Option(
            help="reconstruct: send images. admin: change what the server does. read: see models and figures, as every"
            " key may. Repeat the option for several.",
            show_default=False,
        ),
    ],
    file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            dir_okay=False,
            help="Append the line to this keys file, made if need be. Without it the line is shown.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make a key. It is printed once, alone on standard output, and stored nowhere: only its hash is.

    So `KEY=$(clearslice keys new --name pacs --scope reconstruct --file keys)` keeps it off the screen.
    """
    from clearslice.commands.terminal import expected_errors
    from service import keys
    from service.errors import InvalidKeysFile

    if not keys.is_name(name):
        raise typer.BadParameter("must be 1 to 64 of A-Z a-z 0-9 . _ - and begin with a letter or digit")
    key = keys.new_key()
    line = keys.ApiKey(name, frozenset(keys.Scope(item) for item in scope), keys.digest_of(key.encode())).line()
    if file is None:
        typer.echo(f"Line for the keys file:\n{line}\nThe key, shown only now:", err=True)
    else:
        with expected_errors(InvalidKeysFile, OSError):
            _append(line, file)
        typer.echo(f"Added {name} to {file}. The key, shown only now:", err=True)
    typer.echo(key)


@app.command("check")
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A keys file.", show_default=False)],
) -> None:
    """Read a keys file as the server does, and list the names and scopes in it."""
    from clearslice.commands.terminal import expected_errors
    from service.errors import InvalidKeysFile
    from service.keys_file import read_keys

    with expected_errors(InvalidKeysFile):
        for key in read_keys(file).keys:
            typer.echo(f"{key.name}  {','.join(sorted(key.scopes))}")


def _append(line: str, file: Path) -> None:
    """Adds a line to a keys file in place: mounts of single files and links stay what they are.

    Raises:
        InvalidKeysFile: with the line the file would have a mistake, as a name used twice; it is left as it was.
    """
    from service.keys_file import parse_keys_of, read_keys_text

    before = read_keys_text(file) if file.exists() else ""
    separator = "" if before.endswith("\n") or not before else "\n"
    parse_keys_of(file, f"{before}{separator}{line}\n")
    with file.open("a", encoding="utf-8") as target:
        target.write(f"{separator}{line}\n")

"""`clearslice export`: a finished run -> the next version in a model store."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated

import typer

from clearslice.commands.evaluate import EVALUATION
from clearslice.commands.models import WriteStore, open_store
from clearslice.commands.terminal import ERRORS, expected_errors, quiet_tensorflow


def export(
    run: Annotated[Path, typer.Argument(help="A finished run, such as runs/ct-l2.")],
    store: WriteStore = None,
    label: Annotated[str | None, typer.Option(help="Point this label at the new version.")] = None,
    credits_file: Annotated[
        Path | None,
        typer.Option(
            "--credits",
            help='TOML for the model card: a table per series, ["name"] or ["pattern-*"], with collection = "..." and'
            ' licence = "...".',
        ),
    ] = None,
) -> None:
    """Publish a run: SavedModel, manifest, golden sample and model card, verified in a fresh process.

    The scores of `clearslice evaluate` go into the manifest and the card if the run has been evaluated.
    """
    quiet_tensorflow()
    from model_store.errors import ModelStoreError
    from training.errors import TrainingError

    with expected_errors(TrainingError, ModelStoreError, OSError, tomllib.TOMLDecodeError):
        opened = open_store(store)
        from training.evaluation.evaluate import rows_from_json
        from training.export import Credit
        from training.export import export as publish

        credited = tomllib.loads(credits_file.read_text()) if credits_file else {}
        evaluation = run / EVALUATION
        rows = rows_from_json(json.loads(evaluation.read_text())) if evaluation.is_file() else []
        if not rows:
            ERRORS.print(f"{run} has not been evaluated: the model card will have no scores")
        version = publish(
            run, opened, rows=rows, credits_by_series={name: Credit(**each) for name, each in credited.items()}
        )
        if label:
            opened.promote(version.name, label, version.version)
        typer.echo(f"{version.ref} published in {version.path.parent}" + (f", label {label}" if label else ""))

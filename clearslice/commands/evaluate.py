"""`clearslice evaluate`: runs or published versions -> table with intervals, beside tuned classical baselines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clearslice.commands.models import ReadStore, open_store
from clearslice.commands.terminal import ERRORS, expected_errors, quiet_tensorflow, stage_bars
from clearslice.commands.train import CACHE

if TYPE_CHECKING:
    from training.evaluate import Restore

EVALUATION = "evaluation.json"


def evaluate(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="TARGET...",
            help="A run folder such as runs/ct-l2, or a model ref such as ct-l2@stable. With several, the first is"
            " compared with each other one, slice by slice.",
        ),
    ],
    data: Annotated[
        Path, typer.Option(help="Folder with validation/ (reported on) and tune/ (chooses the baselines' parameters).")
    ],
    dose: Annotated[
        list[float] | None,
        typer.Option(min=0.01, max=0.99, help="Dose fraction, may come several times; default 0.25."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for evaluation.json and evaluation.md; default: the first run's folder.")
    ] = None,
    store: ReadStore = None,
    cache: Annotated[Path, typer.Option(help="As for `clearslice train`.")] = CACHE,
) -> None:
    """Score a model on patients it has never seen, under simulated low dose with a soft and with a sharp kernel.

    Beside it stand the untreated image and Gaussian, total-variation and non-local-means filters tuned on tune/. The
    brackets are 95 % intervals over patients. Look once: choosing by these scores would spoil them.
    """
    quiet_tensorflow()
    from imaging.errors import ImagingError
    from model_store.errors import ModelStoreError
    from training.errors import NoTrainingData, TrainingError

    with expected_errors(TrainingError, ImagingError, ModelStoreError, OSError):
        from training.datasets import check_roles, role_folder, standard_protocols
        from training.differences import render_differences
        from training.evaluate import evaluate as evaluate_methods
        from training.evaluate import render_markdown, summarise, to_json
        from training.pairs import prepare

        methods: dict[str, Restore] = {}
        folders = []
        for target in targets:
            name, restore, folder = _restorer(target, store)
            if name in methods:
                raise typer.BadParameter(f"two of the targets are called {name}, and the table has one line for each")
            methods[name] = restore
            folders.append(folder)
        roles = {}
        with stage_bars() as advance:
            for role in ("tune", "report"):
                found = role_folder(data, role)
                if found is None and role == "report":
                    raise NoTrainingData(f"{data} has no folder validation/: there is nothing to report on")
                roles[role] = prepare([found], cache, average=False, progress=advance) if found else []
            check_roles(roles)
            protocols = [protocol for fraction in dose or [0.25] for protocol in standard_protocols(fraction)]
            scores = evaluate_methods(methods, roles["report"], roles["tune"], protocols, progress=advance)
        rows = summarise(scores)
        table = f"{render_markdown(rows)}\n{render_differences(scores, next(iter(methods)))}"
        typer.echo(table)
        place = out or folders[0]
        if place is not None:
            place.mkdir(parents=True, exist_ok=True)
            (place / EVALUATION).write_text(json.dumps(to_json(rows, scores), indent=1) + "\n")
            (place / "evaluation.md").write_text(table)
            ERRORS.print(f"written to {place}")


def _restorer(target: str, store: Path | None) -> tuple[str, Restore, Path | None]:
    """Name, function on one image, and the run's folder (None for a published version)."""
    run = Path(target)
    if run.is_dir():
        from training.fit import load_run

        model, settings = load_run(run)
        return settings.model, lambda image: model.predict_on_batch(image[None, ..., None])[0, ..., 0], run
    from model_store.restorer import load_restorer

    version = open_store(store).resolve(target)
    restorer = load_restorer(version)
    return version.name, lambda image: restorer(image[None, ..., None])[0, ..., 0], None

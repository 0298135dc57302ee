"""`clearslice evaluate`: runs or published versions -> table with intervals, beside tuned classical baselines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clearslice.commands.fit_options import CACHE
from clearslice.commands.models import ReadStore, open_store
from clearslice.commands.terminal import ERRORS, expected_errors, quiet_tensorflow, stage_bars

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from training.data.pairs import StatedDegrade
    from training.domains import Domain
    from training.evaluation.evaluate import Restore

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
        Path | None,
        typer.Option(
            help="Folder with validation/ (reported on) and tune/ (chooses the baselines' parameters). For"
            " relative-...: default pictures that come with the installation."
        ),
    ] = None,
    dose: Annotated[
        list[float] | None,
        typer.Option(
            min=0.01,
            max=0.99,
            help="CT: dose fraction, each under three protocols; may come several times. Default 0.25, unless there"
            " is a --degradation.",
        ),
    ] = None,
    degradation: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[:SETTING=NUMBER,...]",
            help="What degrades the slices, as in gaussian:sigma=40; may come several times. `clearslice degradations`"
            " lists them. Default for relative-...: gaussian.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for evaluation.json and evaluation.md; default: the folder of every run."),
    ] = None,
    store: ReadStore = None,
    cache: Annotated[Path, typer.Option(help="As for `clearslice train`.")] = CACHE,
) -> None:
    """Score a model on patients it has never seen, by default under a low dose of its own texture and a sharp one.

    Beside it stand the untreated image and classical filters tuned on tune/. The first table says how far from the
    reference the images are, the second in what way (noise, lost edges, sparse errors). The brackets are 95 % intervals
    over patients. Look once: choosing by these scores would spoil them.
    """
    quiet_tensorflow()
    from imaging.errors import ImagingError
    from model_store.errors import ModelStoreError
    from training.errors import NoTrainingData, TrainingError

    with expected_errors(TrainingError, ImagingError, ModelStoreError, OSError):
        from training.data.datasets import check_roles, check_unseen
        from training.data.sources import series_of_role
        from training.degradations import prepare_degradation
        from training.evaluation.differences import render_differences
        from training.evaluation.evaluate import evaluate as evaluate_methods
        from training.evaluation.evaluate import summarise, to_json
        from training.evaluation.score_tables import render_markdown, render_more_metrics
        from training.run_files import write_json, write_text

        chosen = [_method(target, store) for target in targets]
        names = [each.name for each in chosen]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise typer.BadParameter(f"two of the targets are called {twice}, and the table has one line for each")
        domain, *others = sorted({each.domain for each in chosen})
        if others:
            raise typer.BadParameter(f"the targets are for images of different domains: {', '.join((domain, *others))}")
        degradations = _degradations(domain, dose, degradation)
        with stage_bars() as advance:
            report = series_of_role(domain, data, "report", cache, progress=advance, notice=ERRORS.print)
            if not report:
                raise NoTrainingData(f"{data} has no folder validation/: there is nothing to report on")
            tune = series_of_role(domain, data, "tune", cache, progress=advance, notice=ERRORS.print)
            check_roles({"tune": tune, "report": report})
            for method in chosen:
                check_unseen(report, method.seen, method.name)
            for each in degradations:
                prepare_degradation(each, tune + report, progress=advance)
            methods = {method.name: method.restore for method in chosen}
            scores = evaluate_methods(methods, report, tune, degradations, progress=advance)
        rows = summarise(scores)
        table = "\n".join((render_markdown(rows), render_more_metrics(rows), render_differences(scores, names[0])))
        typer.echo(table)
        for place in [out] if out else [each.folder for each in chosen if each.folder]:
            write_json(place / EVALUATION, to_json(rows, scores))
            write_text(place / "evaluation.md", table)
            ERRORS.print(f"written to {place}")


def _degradations(
    domain: Domain, doses: Sequence[float] | None, names: Sequence[str] | None
) -> tuple[StatedDegrade, ...]:
    """What was asked for, or what reports of the domain use."""
    from training.comparison.study import Choice
    from training.degradations import parse_degradation, standard_protocols

    if doses and domain != "ct":
        raise typer.BadParameter(f"--dose is of CT, and the targets are for {domain} images; use --degradation")
    chosen = [Choice.parse(text) for text in names or ()]
    asked = tuple(parse_degradation(each.name, domain, dict(each.settings)) for each in chosen)
    if domain != "ct":
        return asked or (parse_degradation("gaussian", domain),)
    doses = doses or ([] if asked else [0.25])
    return (*(protocol for fraction in doses for protocol in standard_protocols(fraction)), *asked)


@dataclass(frozen=True)
class _Method:
    """A target: its model's name and domain, what it does to an image, its folder if it is a run, its patients."""

    name: str
    domain: Domain
    restore: Restore
    folder: Path | None
    seen: Sequence[Mapping[str, Any]]


def _method(target: str, store: Path | None) -> _Method:
    from training.recipes import parse_model_name

    run = Path(target)
    if run.is_dir():
        from training.fit import load_run
        from training.probes import restore_slice
        from training.start import seen_series

        model, settings = load_run(run)
        return _Method(settings.model, parse_model_name(settings.model)[0], restore_slice(model), run, seen_series(run))
    from model_store.restorer import load_restorer

    version = open_store(store).resolve(target)
    restorer = load_restorer(version)
    seen = [each.model_dump() for each in version.manifest.training_data]
    return _Method(
        version.name,
        parse_model_name(version.name)[0],
        lambda image: restorer(image[None, ..., None])[0, ..., 0],
        None,
        seen,
    )

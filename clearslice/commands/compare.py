"""`clearslice compare`: recipes x degradations under one budget -> report."""

from __future__ import annotations

import logging
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clearslice.commands.fit_options import CACHE
from clearslice.commands.terminal import ERRORS, expected_errors, quiet_tensorflow, stage_bars

if TYPE_CHECKING:
    from training.comparison.study import Study

STUDY_CLAIM, REPORT_CLAIM = "claim", "report-claim"
"""Files of a study's folder that a process locks while it writes study.json and data.json, or the report."""


def compare(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[STUDY.toml]",
            help="What to compare: recipes, degradations, seeds, folds, slices and a table [budget]. Options replace"
            " what it says. Without it, and without options, the study that --study already holds goes on.",
        ),
    ] = None,
    study: Annotated[
        Path, typer.Option(help="Folder of the study: models, scores and the report. An existing one goes on.")
    ] = Path("runs/study"),
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder with train/, tune/ and validation/, as for `clearslice train`. The report is of validation/,"
            " or with --folds of train/."
        ),
    ] = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            help="A row of the table, such as l1-ssim, or with settings of its own: huber:delta=0.5. May come several"
            " times; `clearslice recipes` lists them."
        ),
    ] = None,
    degradation: Annotated[
        list[str] | None,
        typer.Option(help="A column, such as low-dose or gaussian:sigma=40. May come several times."),
    ] = None,
    seed: Annotated[list[int] | None, typer.Option(help="May come several times; default 0.")] = None,
    domain: Annotated[str | None, typer.Option(help="Of all models; default ct.")] = None,
    folds: Annotated[
        int | None,
        typer.Option(help="Deal the patients of train/ into so many folds and leave validation/ unopened; default 0."),
    ] = None,
    slices: Annotated[int | None, typer.Option(help="Of each patient, reported on; default 3, spread evenly.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Budget of every cell: passes of --steps batches.")] = None,
    steps: Annotated[int | None, typer.Option(help="Budget: batches an epoch.")] = None,
    batch: Annotated[int | None, typer.Option(help="Budget: patches a batch.")] = None,
    patch: Annotated[int | None, typer.Option(help="Budget: side of a patch in pixels.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Budget: peak of the cosine schedule.")] = None,
    widths: Annotated[str | None, typer.Option(help="Budget: channels of the network, as in 24,40,56.")] = None,
    take: Annotated[
        list[Path] | None,
        typer.Option(
            help="A run folder of `clearslice train` as an additional row; it is not ranked, since its budget is its"
            " own. May come several times."
        ),
    ] = None,
    train_only: Annotated[  # noqa: FBT002
        bool, typer.Option("--train-only", help="Train what is missing, and stop.")
    ] = False,
    score_only: Annotated[  # noqa: FBT002
        bool, typer.Option("--score-only", help="Score what is trained, and report on it.")
    ] = False,
    report_only: Annotated[  # noqa: FBT002
        bool, typer.Option("--report-only", help="Write the report of what is scored; needs no data.")
    ] = False,
    cache: Annotated[Path, typer.Option(help="As for `clearslice train`.")] = CACHE,
) -> None:
    """Find out which loss suits which noise: train recipes x degradations under one budget and report on patients.

    Every cell of the table is a model with the same number of steps, the same network and the same seeds. A cell is
    kept as it finishes, so a killed study goes on with the same command, and a study that is given more recipes,
    degradations or seeds trains only what is missing; nothing is ever taken out of it. Another budget needs another
    folder. The same command in a second terminal shares the work; the milliseconds in the report are then of a busy
    machine.

    The report (report.html, report.json, report.md in the study's folder) names the recipe to take for each noise, says
    which differences may be chance, and which predictions of theory held. Under six patients it claims nothing.

    A first look, minutes:   clearslice compare --data DIR --recipe l2 --recipe l1 --degradation gaussian --steps 50

    The study in the docs:   clearslice compare docs/reports/which-loss.toml --data DIR

    Without scans:           clearslice compare --domain relative --recipe l2 --recipe l1 --degradation laplace
    """
    if train_only + score_only + report_only > 1:
        raise typer.BadParameter("choose one of --train-only, --score-only and --report-only")
    quiet_tensorflow()
    logging.getLogger("tensorflow").setLevel(
        logging.ERROR
    )  # it warns of many models in one process, which is the point
    from imaging.errors import ImagingError
    from training.errors import TrainingError

    with expected_errors(TrainingError, ImagingError, OSError, tomllib.TOMLDecodeError):
        from training.comparison.study import join_study

        budget = {
            "epochs": epochs,
            "steps": steps,
            "batch": batch,
            "patch": patch,
            "learning_rate": learning_rate,
            "widths": [_width(each) for each in widths.split(",")] if widths else None,
        }
        given = {
            "domain": domain,
            "recipes": recipe,
            "degradations": degradation,
            "seeds": seed,
            "folds": folds,
            "slices": slices,
        }
        whole = join_study(_asked(file, study, given, budget), study)
        if not report_only:
            _work(whole, study, data, cache, take or [], train=not score_only, score=not train_only)
        if not train_only:
            from training.claims import Claim
            from training.comparison.report.write import write_report

            with Claim.wait(study / REPORT_CLAIM):  # processes on one study end at the same time
                for written in write_report(whole, study):
                    ERRORS.print(f"written: {written}")


def _work(
    whole: Study, folder: Path, data: Path | None, cache: Path, take: list[Path], *, train: bool, score: bool
) -> None:
    """Trains and scores what is missing."""
    from training.claims import Claim
    from training.comparison.cells import missing
    from training.comparison.compare import compare as compare_cells
    from training.comparison.compare import take as take_run
    from training.comparison.folds import deal, keep_data
    from training.comparison.study import keep_study
    from training.data.datasets import Role
    from training.data.pairs import PreparedSeries
    from training.data.sources import series_of_role

    cells = len(list(whole.cells()))
    ERRORS.print(f"{folder}: {cells} cells, {len(missing(whole, folder))} of them still to train")
    with stage_bars() as advance:
        wanted: tuple[Role, ...] = ("fit", "tune") if whole.folds else ("fit", "tune", "report")
        roles: dict[Role, list[PreparedSeries]] = {
            role: series_of_role(whole.domain, data, role, cache, progress=advance, notice=ERRORS.print)
            for role in wanted
        }
        dealt = deal(whole, roles)
        with Claim.wait(folder / STUDY_CLAIM):
            whole = keep_study(whole, folder)  # now that there are data for it
            keep_data(dealt, folder)
        compare_cells(
            whole,
            dealt,
            folder,
            cache=cache,
            train=train,
            score=score,
            taken=[take_run(run, whole, dealt) for run in take],
            progress=advance,
            notice=ERRORS.print,
        )


def _width(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"--widths takes numbers of channels, as in 24,40,56, not {text!r}") from None


def _asked(file: Path | None, folder: Path, given: dict[str, Any], budget: dict[str, Any]) -> Study:
    """The study that the file, or else the folder, holds, under the options that were given."""
    from training.comparison.study import Study, read_study

    before = read_study(folder)
    plain: dict[str, Any] = {}
    if file is not None:
        plain = tomllib.loads(file.read_text())
    elif before is not None:
        plain = before.to_json()
    plain |= {name: value for name, value in given.items() if value not in (None, [])}
    plain["budget"] = plain.get("budget", {}) | {name: value for name, value in budget.items() if value is not None}
    return Study.from_json(plain)

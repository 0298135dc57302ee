"""`clearslice tune`: a recipe and patients to tune on -> settings, with a report that says whether they help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clearslice.commands import fit_options as options
from clearslice.commands.fit_options import CACHE, settings_of, training_series
from clearslice.commands.terminal import ERRORS, expected_errors, quiet_tensorflow, stage_bars

EPOCHS, STEPS = 4, 75
"""Of a trial: 300 steps tell recipes apart, and four epochs let a bad trial be stopped after half of them."""


def tune(
    name: options.Model,
    data: options.Data = None,
    trials: Annotated[
        int, typer.Option(min=1, help="In all, whoever ran them: raise it, and only the missing ones run.")
    ] = 20,
    repeats: Annotated[
        int, typer.Option(min=0, help="New seeds under which the best and the untuned constants are trained again.")
    ] = 3,
    search: Annotated[Path | None, typer.Option(help="Folder of the search; default runs/tune/NAME.")] = None,
    settings_file: options.SettingsFile = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help=f"Of every trial: passes of --steps batches; default {EPOCHS}.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help=f"Of every trial: batches an epoch; default {STEPS}.")
    ] = None,
    batch: options.Batch = None,
    patch: options.Patch = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Hold it at this value; otherwise it is searched too.")
    ] = None,
    precision: options.Precision = None,
    seed: options.Seed = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=NUMBER", help="Hold a setting of the recipe at this value."),
    ] = None,
    degradation: options.DegradationName = None,
    degrade: options.Degrade = None,
    features: options.Features = None,
    cache: options.Cache = CACHE,
) -> None:
    """Search a recipe's settings and the learning rate on the tune patients, under a short budget per trial.

    The first trials are untuned constants: the recipe's own and the classic ones. At the end the best is trained again
    beside them under new seeds, which tells a gain from luck. validation/ stays unopened.

    The same command once more, at the same time, is a second worker; after a kill it goes on where it stopped. What a
    file given with --settings says of the loss or the learning rate is held, as --set and --learning-rate are.

    The report (report.html, report.json, report.md) lies in the search's folder.
    """
    quiet_tensorflow()
    from imaging.errors import ImagingError
    from training.errors import TrainingError

    with expected_errors(TrainingError, ImagingError, OSError):
        from training.recipes import parse_model_name
        from training.settings_file import read_settings

        domain, _ = parse_model_name(name)
        said = read_settings(settings_file, name) if settings_file else {}
        settings = settings_of(
            name,
            settings_file,
            setting=setting,
            degradation=degradation,
            degrade=degrade,
            epochs=epochs or said.get("epochs", EPOCHS),
            steps=steps or said.get("steps", STEPS),
            batch=batch,
            patch=patch,
            learning_rate=learning_rate,
            precision=precision,
            seed=seed,
            features=features,
        )
        held = {*said.get("loss", {}), *(options.number(each, "--set")[0] for each in setting or ())}
        if learning_rate is not None or "learning_rate" in said:
            held.add("learning_rate")

        from training.claims import Claim
        from training.tuning.repeats import repeat
        from training.tuning.report.analyse import analyse, arms_of
        from training.tuning.report.page import write_report
        from training.tuning.search_space import TuneSettings
        from training.tuning.trials import Search, run_trials

        folder = search or Path("runs/tune") / name
        with stage_bars() as advance:
            series = training_series(settings, domain, data, cache, advance)
            whole = Search(TuneSettings(settings, frozenset(held)), *series, folder, cache)
            finished = run_trials(whole, trials, progress=advance, notice=ERRORS.print)
            arms = arms_of(whole, finished)
            seeds = [settings.seed + number for number in range(1, repeats + 1)]
            scores = repeat(whole, arms, seeds, progress=advance) if seeds else []
        report = analyse(whole, finished, arms, seeds, scores)
        with Claim.wait(whole.claim_file("report")):  # workers end at the same time
            for written in write_report(report, folder):
                ERRORS.print(f"written: {written}")
        for line in report["words"]:
            ERRORS.print(f"- {line}")
        typer.echo(report["command"])

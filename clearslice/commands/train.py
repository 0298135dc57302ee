"""`clearslice train`: series -> run folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clearslice.commands import fit_options as options
from clearslice.commands.fit_options import CACHE, settings_of, training_series
from clearslice.commands.terminal import ERRORS, expected_errors, quiet_tensorflow, stage_bars

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.fit import Progress


def train(
    name: options.Model,
    data: options.Data = None,
    run: Annotated[
        Path | None, typer.Option(help="Folder of the run; default runs/NAME. An existing run resumes.")
    ] = None,
    settings_file: options.SettingsFile = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes of --steps batches; default 20.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Batches an epoch; default 300.")] = None,
    batch: options.Batch = None,
    patch: options.Patch = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak of the cosine schedule; default 0.001.")] = None,
    precision: options.Precision = None,
    seed: options.Seed = None,
    setting: options.Set = None,
    degradation: options.DegradationName = None,
    degrade: options.Degrade = None,
    features: options.Features = None,
    start: options.Start = None,
    cache: options.Cache = CACHE,
    print_settings: Annotated[  # noqa: FBT002
        bool, typer.Option("--print-settings", help="Print them all as TOML, for --settings, and train nothing.")
    ] = False,
) -> None:
    """Train one model on degraded patches, or resume where a killed run stopped.

    A low dose adds noise in the projections of each slice. That part is computed once (seconds a slice) and cached.
    Watch with `tensorboard --logdir runs`; then run `clearslice evaluate` and `clearslice export`.

    From a file:     clearslice train ct-huber --settings my.toml --data DIR

    Start a file:    clearslice train ct-huber --print-settings > my.toml

    On from a model: clearslice train ct-huber --start ct-l2@stable --learning-rate 5e-4 --data DIR

    As another run:  clearslice train ct-huber --settings runs/ct-huber/settings.json --seed 1 --run runs/second
    """
    quiet_tensorflow()
    from imaging.errors import ImagingError
    from training.errors import TrainingError

    with expected_errors(TrainingError, ImagingError, OSError):
        settings = settings_of(
            name,
            settings_file,
            setting=setting,
            degradation=degradation,
            degrade=degrade,
            epochs=epochs,
            steps=steps,
            batch=batch,
            patch=patch,
            learning_rate=learning_rate,
            precision=precision,
            seed=seed,
            features=features,
            start=start,
        )
        from training.fit import fit
        from training.recipes import parse_model_name
        from training.settings_file import render_settings

        if print_settings:
            typer.echo(render_settings(settings), nl=False)
            return
        domain, _ = parse_model_name(name)
        with stage_bars() as advance:
            fit_series, tune_series = training_series(settings, domain, data, cache, advance)
            fit(
                settings,
                fit_series,
                tune_series,
                run or Path("runs") / name,
                cache=cache,
                source=None if data is None else str(data),
                advance=advance,
                progress=show_epochs(advance),
            )


def show_epochs(advance: Callable[[str, int, int], None]) -> Callable[[Progress], None]:
    """Moves the bar `train` with every step, and prints the scores of every epoch."""

    def show(state: Progress) -> None:
        stage = f"epoch {state.epoch}/{state.epochs}  loss {state.loss:.3g}"
        advance("train", (state.epoch - 1) * state.steps + state.step, state.epochs * state.steps)
        if state.scores is not None:
            scores = "  ".join(f"{key} {value:.4g}" for key, value in state.scores.items() if key != "loss")
            ERRORS.print(f"{stage}  tune: {scores}")

    return show

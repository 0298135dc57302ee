"""`clearslice reproduce`: a run, trained again elsewhere and compared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clearslice.commands import fit_options as options
from clearslice.commands.fit_options import CACHE, training_series
from clearslice.commands.terminal import ERRORS, expected_errors, quiet_tensorflow, stage_bars
from clearslice.commands.train import show_epochs


def reproduce(
    run: Annotated[Path, typer.Argument(help="Folder of a run, such as runs/ct-l2. It is only read.")],
    data: options.Data = None,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Only the first so many, under the schedule of all: cheap, and tells as much."),
    ] = None,
    again: Annotated[
        Path | None, typer.Option("--run", help="Folder of the second run; default RUN-again. It resumes.")
    ] = None,
    cache: options.Cache = CACHE,
) -> None:
    """Train a run again, from its settings, seeds and data, and say whether the same came out.

    On one machine, with the same code and versions: the same weights, bit for bit. Elsewhere: the same PSNR of the tune
    slices to 0.02 dB. What differs in data, code, versions and machine is listed. Exits with 1 when it is not the same.

    Without --data the series are read from where the run says it read them.
    """
    quiet_tensorflow()
    from imaging.errors import ImagingError
    from training.errors import TrainingError

    with expected_errors(TrainingError, ImagingError, OSError):
        from training.fit import load_run
        from training.recipes import parse_model_name
        from training.reproduce import reproduce as train_again
        from training.reproduce import source_of

        _, settings = load_run(run)
        domain, _ = parse_model_name(settings.model)
        with stage_bars() as advance:
            series = training_series(settings, domain, data or source_of(run), cache, advance)
            found = train_again(
                run,
                *series,
                again or run.with_name(f"{run.name}-again"),
                epochs=epochs,
                cache=cache,
                advance=advance,
                progress=show_epochs(advance),
            )
    for line in found.differences:
        ERRORS.print(f"- {line}")
    typer.echo(f"{found.verdict}: {found.epochs} of {found.of} epochs trained again{_figures(found.psnr)}")
    if found.weights_differ:
        typer.echo(f"the largest difference of a weight is {found.weights_differ:.3g}")
    if not found.reproduced:
        raise typer.Exit(1)


def _figures(psnr: tuple[float, float] | None) -> str:
    return f"; PSNR of the tune slices {psnr[0]:.4f} dB then, {psnr[1]:.4f} dB now" if psnr else ""

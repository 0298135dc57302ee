"""`clearslice calibrate`: a run, and patients to hold it against -> bounds of the guard, factors of intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clearslice.commands.fit_options import CACHE
from clearslice.commands.terminal import ERRORS, expected_errors, quiet_tensorflow, stage_bars


def calibrate(
    run: Annotated[Path, typer.Argument(help="A run folder, such as runs/ct-quantile.")],
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder with tune/, which decides, and validation/, which shows what that is worth. For relative-...:"
            " default pictures that come with the installation."
        ),
    ] = None,
    coverage: Annotated[
        float, typer.Option(min=0.5, max=0.99, help="Share of the pixels that an interval shall hold.")
    ] = 0.9,
    cache: Annotated[Path, typer.Option(help="As for `clearslice train`.")] = CACHE,
) -> None:
    """Find out on tune/ what answers of a model are normal, and make its intervals hold what they promise.

    The guard warns of answers beyond what it saw here: for CT at full, half, quarter and tenth dose. Intervals (of
    recipes such as quantile) are stretched by a factor for every tissue. What both are worth on validation/ is printed
    and kept with the run, and so is what the model makes of drawn images that it was not made for (metal, a head, very
    much noise). `clearslice export` puts it all into the model and its card.
    """
    quiet_tensorflow()
    from imaging.errors import ImagingError
    from training.errors import TrainingError

    with expected_errors(TrainingError, ImagingError, OSError):
        from training.calibration.calibrate import calibrate as calibrate_model
        from training.calibration.calibrate import calibration_degradations, render_calibration, write_calibration
        from training.data.datasets import check_roles, check_unseen
        from training.data.sources import series_of_role
        from training.degradations import prepare_degradation
        from training.evaluation.hard_cases import HARD_CASES, render_hard_cases
        from training.fit import load_run
        from training.recipes import parse_model_name
        from training.start import seen_series

        model, settings = load_run(run)
        domain, _ = parse_model_name(settings.model)
        degradations = calibration_degradations(settings.noise)
        with stage_bars() as advance:
            tune, report = (
                series_of_role(domain, data, role, cache, progress=advance, notice=ERRORS.print)
                for role in ("tune", "report")
            )
            check_roles({"tune": tune, "report": report})
            check_unseen([*tune, *report], seen_series(run), settings.model)
            for each in degradations:
                prepare_degradation(each, tune + report, progress=advance)
            calibration = calibrate_model(
                model,
                settings.recipe.outputs,
                tune,
                report,
                degradations,
                coverage=coverage,
                drawings=HARD_CASES if domain == "ct" else (),
                progress=advance,
            )
        write_calibration(run, calibration)
        typer.echo(render_calibration(calibration) or "There is no validation/ to show what it is worth.")
        if calibration.hard_cases:
            typer.echo(render_hard_cases(calibration.hard_cases))
        ERRORS.print(f"written to {run}; `clearslice export {run}` puts it into the model")

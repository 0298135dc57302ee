"""`clearslice calibrate`: a run with intervals, and patients to hold them against -> factors for every tissue."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clearslice.commands.fit_options import CACHE
from clearslice.commands.terminal import ERRORS, expected_errors, quiet_tensorflow, stage_bars


def calibrate(
    run: Annotated[Path, typer.Argument(help="Of a model that gives intervals, such as runs/ct-quantile.")],
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder with tune/ (chooses the factors) and validation/ (shows what they hold). For relative-...:"
            " default pictures that come with the installation."
        ),
    ] = None,
    coverage: Annotated[
        float, typer.Option(min=0.5, max=0.99, help="Share of the pixels that the interval shall hold.")
    ] = 0.9,
    cache: Annotated[Path, typer.Option(help="As for `clearslice train`.")] = CACHE,
) -> None:
    """Make a model's intervals hold what they promise, by factors for every tissue that tune/ chooses.

    For CT under half, a quarter and a tenth of the scan's own dose. What the intervals hold on validation/ is printed
    and kept with the run; `clearslice export` puts the factors into the model.
    """
    quiet_tensorflow()
    from imaging.errors import ImagingError
    from training.errors import TrainingError

    with expected_errors(TrainingError, ImagingError, OSError):
        from training.calibration.calibrate import (
            calibrate_intervals,
            calibration_degradations,
            check_has_interval,
            render_coverage,
            report_coverage,
            write_calibration,
        )
        from training.data.datasets import check_roles, check_unseen
        from training.data.sources import series_of_role
        from training.degradations import prepare_degradation
        from training.fit import load_run
        from training.recipes import parse_model_name
        from training.start import seen_series

        model, settings = load_run(run)
        check_has_interval(settings.recipe)
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
            intervals = calibrate_intervals(model, tune, degradations, coverage=coverage, progress=advance)
            rows = report_coverage(model, intervals, report, degradations, progress=advance)
        write_calibration(run, intervals, rows)
        typer.echo(render_coverage(rows, coverage) if rows else "There is no validation/ to show what they hold.")
        ERRORS.print(f"written to {run}; `clearslice export {run}` puts it into the model")

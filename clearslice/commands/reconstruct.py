"""`clearslice reconstruct IN OUT`: a file or a folder restored without a server.

IN, OUT --plan--> jobs --one model, one bar--> outcomes --> summary, status 1 if any failed
"""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clearslice.commands.serve import Device, Precision

if TYPE_CHECKING:
    from clearslice.offline import FileJob, Outcome, Treatment
    from imaging.formats import Limits
    from imaging.image import Rescale
    from model_store.store import ModelStore, ModelVersion


def reconstruct(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A DICOM, PNG, TIFF or NPY file, or a folder of them.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The file or folder to write.")],
    model: Annotated[
        str | None,
        typer.Option(help="Model ref, as in ct-l2 or ct-l2@3; auto: by the noise of IN. Default: the store's."),
    ] = None,
    strength: Annotated[float, typer.Option(min=0, max=1, help="0 gives the image back, 1 the model's answer.")] = 1.0,
    rescale_slope: Annotated[
        float | None, typer.Option(help="For PNG, TIFF and NPY: HU = slope x value + intercept.", show_default=False)
    ] = None,
    rescale_intercept: Annotated[
        float | None, typer.Option(help="Belongs to --rescale-slope.", show_default=False)
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="The truth of a single image, for metrics.", show_default=False),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Your model store, which lies over the shipped models.", show_default=False),
    ] = None,
    precision: Annotated[
        Precision | None, typer.Option(help="auto: the faster one that is exact enough.", show_default=False)
    ] = None,
    device: Annotated[Device | None, typer.Option(help="auto: a GPU where there is one.", show_default=False)] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")] = False,  # noqa: FBT002
) -> None:
    """Restore a file or a folder, each image in the format it came in.

    Folders are searched to the bottom, and OUT mirrors their names. What is no image, or no CT slice, is skipped and
    told. DICOM slices become derived instances: those of one series share one new series. PNG, TIFF and NPY files state
    no unit, so a CT model needs --rescale-slope and --rescale-intercept for them. Enhanced CT, TIFF pages and NPY
    stacks (N, H, W) come back with as many frames, in order; --reference then needs as many too, and metrics are means.
    """
    from clearslice import offline
    from clearslice.commands.terminal import expected_errors
    from imaging.errors import ImagingError
    from model_store.errors import ModelStoreError
    from service.errors import ServiceError

    if (rescale_slope is None) != (rescale_intercept is None):
        raise typer.BadParameter("--rescale-slope and --rescale-intercept belong together: give both or neither")
    if strength != strength:  # noqa: PLR0124 - NaN passes every range
        raise typer.BadParameter("--strength must be a number from 0 to 1")
    if reference is not None and not source.is_file():
        raise typer.BadParameter("--reference belongs to a single image; IN is none")
    # pydicom's warnings quote the values that they complain about, which can be a patient's.
    warnings.filterwarnings("ignore", module=r"pydicom")
    options = {"store": store, "precision": precision, "device": device}
    with expected_errors(offline.WrongPlace, ImagingError, ModelStoreError, ServiceError):
        jobs = offline.plan(source, target)
        treatment = _treatment(jobs, model, strength, (rescale_slope, rescale_intercept), options, overwrite=overwrite)
        truth = None if reference is None else reference.read_bytes()
    outcomes = _run(jobs, treatment, truth)
    _sum_up(outcomes)
    single = source.is_file()
    if any(outcome.status == "failed" or (single and outcome.status == "skipped") for outcome in outcomes):
        raise typer.Exit(1)


def _treatment(
    jobs: list[FileJob],
    model: str | None,
    strength: float,
    rescale: tuple[float | None, float | None],
    options: dict[str, Any],
    *,
    overwrite: bool,
) -> Treatment:
    from datetime import UTC, datetime

    from clearslice.commands.serve import read_settings
    from clearslice.offline import Treatment
    from imaging.image import Rescale
    from model_store.evidence import AUTO
    from model_store.store import ModelStore
    from service.loading import load_by
    from service.meanings import names_taking

    settings = read_settings({name: value for name, value in options.items() if value is not None})
    models = ModelStore(settings.store, settings.published)
    slope, intercept = rescale
    stated = None if slope is None or intercept is None else Rescale(slope, intercept)
    version = _choose(jobs, models, settings.limits(), stated) if model == AUTO else None
    version = version or models.resolve(models.default_ref() if model is None else model)
    return Treatment(
        restorer=load_by(settings, most=1)(version)[0],
        strength=strength,
        rescale=stated,
        limits=settings.limits(),
        tile_pixels=settings.tile_pixels,
        conventions=settings.dicom,
        begun=datetime.now(UTC).astimezone(),
        overwrite=overwrite,
        models_taking=lambda unit: names_taking(models, unit),
    )


def _choose(jobs: list[FileJob], models: ModelStore, limits: Limits, rescale: Rescale | None) -> ModelVersion:
    from clearslice.commands.terminal import ERRORS
    from clearslice.offline import WrongPlace, images_to_choose_by
    from service.auto import choose_for

    images = images_to_choose_by(jobs, limits, rescale)
    if not images:
        raise WrongPlace("auto has nothing to choose by: no file of the input can be read; name a model with --model")
    chosen = choose_for(models, images[0].unit, [image.pixels for image in images])
    ERRORS.print(f"auto chose {chosen.version.ref}: {chosen.reason}", highlight=False)
    return chosen.version


def _run(jobs: list[Any], treatment: Treatment, truth: bytes | None) -> list[Outcome]:
    from clearslice.commands.terminal import ERRORS, stage_bars
    from clearslice.offline import as_hounsfield, run_job, unequal

    running = treatment.restorer
    ERRORS.print(f"{running.version.ref} in {running.precision} on {running.device}, {len(jobs)} files")
    outcomes = []
    with stage_bars() as advance:
        for number, job in enumerate(jobs, start=1):
            outcomes.append(run_job(job, treatment, truth))
            advance("restoring", number, len(jobs))
        again = unequal(outcomes)
        for number, index in enumerate(again, start=1):
            outcomes[index] = run_job(jobs[index], as_hounsfield(treatment), truth)
            advance("giving each series one encoding", number, len(again))
    return outcomes


def _sum_up(outcomes: list[Outcome]) -> None:
    from rich.markup import escape

    from clearslice.commands.terminal import ERRORS

    for outcome in outcomes:
        if outcome.status != "restored":
            colour = "red" if outcome.status == "failed" else "yellow"
            reason = escape(f"{outcome.job.source}: {outcome.reason}")
            ERRORS.print(f"[{colour}]{outcome.status}[/{colour}] {reason}")
        for warning in outcome.warnings:
            ERRORS.print(f"[yellow]warning[/yellow] {escape(f'{outcome.job.source}: {warning}')}")
        for entry in outcome.scores or ():
            for name in ("degraded", "restored"):
                figures = ", ".join(f"{metric} {_shown(value)}" for metric, value in entry[name].items())
                ERRORS.print(f"{entry['contract']['name']}, {name}: {figures}")
    count = Counter(outcome.status for outcome in outcomes)
    ERRORS.print(", ".join(f"{count[status]} {status}" for status in ("restored", "skipped", "failed")))
    if warned := sum(bool(outcome.warnings) for outcome in outcomes):
        ERRORS.print(f"[yellow]{warned} unlike what the model was made for: look at them before using them[/yellow]")


def _shown(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)

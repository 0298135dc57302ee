"""`clearslice train`: series -> run folder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from clearslice.commands.terminal import ERRORS, expected_errors, quiet_tensorflow, stage_bars

CACHE = Path("runs/cache")


def train(
    name: Annotated[str, typer.Argument(help="Domain and recipe, such as ct-l2; `clearslice recipes` lists them.")],
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder with train/, tune/ and validation/, each holding zip files or folders of DICOM series;"
            " or a folder or zip file of series to train on. For relative-...: the same of PNG, TIFF and NPY files;"
            " default pictures that come with the installation."
        ),
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="Folder of the run; default runs/NAME. An existing run resumes.")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes of --steps batches.")] = 20,
    steps: Annotated[int, typer.Option(min=1, help="Batches an epoch.")] = 300,
    batch: Annotated[int, typer.Option(min=1, help="Patches a batch.")] = 32,
    patch: Annotated[int, typer.Option(min=16, help="Side of a patch in pixels.")] = 96,
    learning_rate: Annotated[float, typer.Option(help="Peak of the cosine schedule.")] = 1e-3,
    precision: Annotated[
        str, typer.Option(help="Keras policy of the convolutions: mixed_bfloat16, or float32 on older processors.")
    ] = "mixed_bfloat16",
    seed: Annotated[int, typer.Option(help="Same seed, same machine: same scores.")] = 0,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=NUMBER",
            help="Replace a setting of the recipe, as in --set delta=0.02; may come several times. 1.0 is 1000 HU.",
        ),
    ] = None,
    degradation: Annotated[
        str | None,
        typer.Option(
            help="What degrades the patches; `clearslice degradations` lists them. Default: a low dose of 0.05 to 0.9"
            " of the scan's own, all kernels; for relative-...: gaussian."
        ),
    ] = None,
    degrade: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=NUMBER",
            help="Replace a setting of --degradation, as in --degrade sigma=30; may come several times.",
        ),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            metavar="encoder|FILE.npz[:LAYER]",
            help="Of the recipe perceptual: compare by an encoder trained on your data (the default),"
            " or by VGG16 weights in a file, as in vgg16.npz:block3_conv3.",
        ),
    ] = None,
    cache: Annotated[Path, typer.Option(help="Where projections and unit noise are kept between runs.")] = CACHE,
) -> None:
    """Train one model on degraded patches, or resume where a killed run stopped.

    A low dose adds noise in the projections of each slice. That part is computed once (seconds a slice) and cached.
    Watch with `tensorboard --logdir runs`; then run `clearslice evaluate` and `clearslice export`.
    """
    quiet_tensorflow()
    from imaging.errors import ImagingError
    from training.errors import TrainingError

    with expected_errors(TrainingError, ImagingError, OSError):
        from training.datasets import check_roles
        from training.degradations import DoseRange, parse_degradation, prepare_degradation
        from training.features import parse_features
        from training.fit import FitSettings, Progress, fit
        from training.recipes import parse_model_name
        from training.sources import series_of_role

        domain, _ = parse_model_name(name)  # before the settings, whose names depend on it
        if degrade and degradation is None:
            raise typer.BadParameter("--degrade changes a setting of --degradation, which is missing")
        numbers = dict(_number(each, "--degrade") for each in degrade or ())
        settings = FitSettings(
            model=name,
            epochs=epochs,
            steps=steps,
            batch=batch,
            patch=patch,
            learning_rate=learning_rate,
            precision=precision,
            seed=seed,
            noise=parse_degradation(degradation, domain, numbers) if degradation else DoseRange(),
            loss=dict(_number(each, "--set") for each in setting or ()),
            features=parse_features(features) if features else None,
        )
        with stage_bars() as advance:
            roles = {}
            for role in ("fit", "tune"):
                roles[role] = series_of_role(domain, data, role, cache, progress=advance, notice=ERRORS.print)
            check_roles(roles)
            prepare_degradation(settings.noise, roles["fit"] + roles["tune"], progress=advance)

            def show(state: Progress) -> None:
                stage = f"epoch {state.epoch}/{state.epochs}  loss {state.loss:.3g}"
                advance("train", (state.epoch - 1) * state.steps + state.step, state.epochs * state.steps)
                if state.scores is not None:
                    scores = "  ".join(f"{key} {value:.4g}" for key, value in state.scores.items() if key != "loss")
                    ERRORS.print(f"{stage}  tune: {scores}")

            fit(
                settings,
                roles["fit"],
                roles["tune"],
                run or Path("runs") / name,
                cache=cache,
                advance=advance,
                progress=show,
            )


def _number(text: str, option: str) -> tuple[str, float]:
    """`delta=0.02` -> (`delta`, 0.02)."""
    name, equals, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not (name and equals and math.isfinite(number)):
        raise typer.BadParameter(f"{option} takes NAME=NUMBER, as in delta=0.02, not {text!r}")
    return name.strip(), number

"""Options of every command that trains, and the settings that they make: file first, then what the command line says.

my.toml --settings--> table <--replaced by-- --epochs, --set, --degradation ... --> FitSettings
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clearslice.commands.terminal import ERRORS

if TYPE_CHECKING:
    from training.data.pairs import PreparedSeries
    from training.domains import Domain
    from training.fit import FitSettings

CACHE = Path("runs/cache")

Model = Annotated[str, typer.Argument(help="Domain and recipe, such as ct-l2; `clearslice recipes` lists them.")]
Data = Annotated[
    Path | None,
    typer.Option(
        help="Folder with train/, tune/ and validation/, each holding zip files or folders of DICOM series;"
        " or a folder or zip file of series to train on. For relative-...: the same of PNG, TIFF and NPY files;"
        " default pictures that come with the installation."
    ),
]
SettingsFile = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        help="TOML file with any of the options below, and [loss], [network] and [noise] tables; or a run's"
        " settings.json. Options replace what it says.",
    ),
]
Batch = Annotated[int | None, typer.Option(min=1, help="Patches a batch; default 32.")]
Patch = Annotated[int | None, typer.Option(min=16, help="Side of a patch in pixels; default 96.")]
Precision = Annotated[
    str | None,
    typer.Option(
        help="Keras policy of the convolutions: mixed_bfloat16 (the default), or float32 on older processors."
    ),
]
Seed = Annotated[int | None, typer.Option(min=0, help="Same seed, same machine: same weights, bit for bit; default 0.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=NUMBER",
        help="Replace a setting of the recipe, as in --set delta=0.02; may come several times. 1.0 is 1000 HU.",
    ),
]
DegradationName = Annotated[
    str | None,
    typer.Option(
        help="What degrades the patches; `clearslice degradations` lists them. Default: low doses"
        " of many levels and textures; for relative-...: gaussian."
    ),
]
Degrade = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=NUMBER",
        help="Replace a setting of --degradation, as in --degrade sigma=30; may come several times.",
    ),
]
Features = Annotated[
    str | None,
    typer.Option(
        metavar="encoder|FILE.npz[:LAYER]",
        help="Of the recipe perceptual: compare by an encoder trained on your data (the default),"
        " or by VGG16 weights in a file, as in vgg16.npz:block3_conv3.",
    ),
]
Start = Annotated[
    str | None,
    typer.Option(
        metavar="RUN|NAME@VERSION|FOLDER",
        help="Begin with the weights of a run, of a model that ships, or of a version's folder (STORE/NAME/3), and with"
        " their network; default random weights.",
    ),
]
Cache = Annotated[Path, typer.Option(help="Where projections and unit noise are kept between runs.")]


def settings_of(
    name: str,
    file: Path | None,
    *,
    setting: list[str] | None,
    degradation: str | None,
    degrade: list[str] | None,
    **options: Any,
) -> FitSettings:
    """What a run is asked for.

    Args:
        name: of the model.
        file: of settings, or None.
        setting, degradation, degrade: `--set`, `--degradation` and `--degrade` as given.
        options: other fields of `FitSettings`; None where the command line says nothing.

    Raises:
        TrainingError: see `training.settings_file`.
        typer.BadParameter: `--set` or `--degrade` is not NAME=NUMBER.
    """
    from training.recipes import parse_model_name
    from training.settings_file import read_settings, settings_from

    parse_model_name(name)  # before the settings, whose names depend on it
    table = read_settings(file, name) if file else {}
    table |= {option: value for option, value in options.items() if value is not None}
    if setting:
        table["loss"] = {**table.get("loss", {}), **dict(number(each, "--set") for each in setting)}
    if degradation:
        table["noise"] = {"name": degradation}
    if degrade:
        if "name" not in table.get("noise", {}):
            raise typer.BadParameter("--degrade changes a setting of --degradation, which is missing")
        table["noise"] = {**table["noise"], **dict(number(each, "--degrade") for each in degrade)}
    return settings_from(name, table)


def training_series(
    settings: FitSettings, domain: Domain, data: Path | None, cache: Path, advance: Callable[[str, int, int], None]
) -> tuple[list[PreparedSeries], list[PreparedSeries]]:
    """The series to fit and to tune on, checked, with what their degradation needs."""
    from training.data.datasets import check_roles
    from training.data.sources import series_of_role
    from training.degradations import prepare_degradation

    fit, tune = (
        series_of_role(domain, data, role, cache, progress=advance, notice=ERRORS.print) for role in ("fit", "tune")
    )
    check_roles({"fit": fit, "tune": tune})
    prepare_degradation(settings.noise, fit + tune, progress=advance)
    return fit, tune


def number(text: str, option: str) -> tuple[str, float]:
    """`delta=0.02` -> (`delta`, 0.02).

    Raises:
        typer.BadParameter: not of that form.
    """
    name, equals, value = text.partition("=")
    try:
        found = float(value)
    except ValueError:
        found = math.nan
    if not (name and equals and math.isfinite(found)):
        raise typer.BadParameter(f"{option} takes NAME=NUMBER, as in delta=0.02, not {text!r}")
    return name.strip(), found

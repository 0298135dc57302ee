"""`clearslice sample DIR`: something to send first, wherever this program runs.

options --> SampleSettings --imaging.sample--> two series --> DIR/low-dose, DIR/full-dose, and what to do with them
   usage error 2                                      files there already: 1
"""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from imaging.sample import Sample, SampleSettings

LOW, FULL = "low-dose", "full-dose"


class KernelName(StrEnum):
    """The kernels of `imaging.low_dose`, from sharp to smooth."""

    ramp = "ramp"
    standard = "standard"
    soft = "soft"
    very_soft = "very-soft"


class RegionName(StrEnum):
    """What is scanned."""

    abdomen = "abdomen"
    chest = "chest"


class CannotWrite(Exception):
    """The sample's place is taken."""


def sample(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write; made if it is not there.")],
    dose_fraction: Annotated[
        float, typer.Option(help="Dose of the low-dose scan as a share of the full dose, above 0 and below 1.")
    ] = 0.25,
    noise: Annotated[
        float, typer.Option(metavar="HU", help="Noise of the full-dose scan in soft tissue. A quarter dose doubles it.")
    ] = 15.0,
    kernel: Annotated[
        KernelName, typer.Option(help="Reconstruction kernel: sharp images have strong, fine noise.")
    ] = KernelName.soft,
    region: Annotated[RegionName, typer.Option(help="The abdomen has the low-contrast lesions.")] = RegionName.abdomen,
    slices: Annotated[
        int, typer.Option(min=1, max=100, help="Of each scan, 3 mm apart; more than one are written into folders.")
    ] = 1,
    seed: Annotated[
        int, typer.Option(min=0, help="Another seed is another patient; the same one, the same files.")
    ] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", "--force", help="Replace a sample that exists.")] = False,  # noqa: FBT002
) -> None:
    """Write a low-dose CT slice and its full-dose counterpart, to try everything else with.

    Both are DICOM files of the same phantom: organs, vessels, bone, gas and faint liver lesions, drawn and not scanned,
    with noise that is simulated in the projections as a scanner makes it. The low dose is what a model restores; the
    full dose is the reference for metrics.

    It is no anatomy, and a model that does well on it has proven nothing about patients.
    """
    from clearslice.commands.terminal import expected_errors
    from clearslice.offline import OutputExists

    settings = _settings(dose_fraction, noise, kernel, region, slices, seed)
    places = {name: _places(folder, name, slices) for name in (LOW, FULL)}
    with expected_errors(CannotWrite, OutputExists, OSError):
        _check(folder, places, slices, overwrite=overwrite)
        made = _make(settings)
        for name, files in ((LOW, made.low_dose_files), (FULL, made.full_dose_files)):
            _write(places[name], files, overwrite=overwrite)
    _tell(made, places, folder)


def _settings(
    dose_fraction: float, noise: float, kernel: KernelName, region: RegionName, slices: int, seed: int
) -> SampleSettings:
    from imaging.low_dose import KERNELS
    from imaging.sample import SampleSettings

    known = {each.name: each for each in KERNELS}
    try:
        return SampleSettings(
            seed=seed,
            dose_fraction=dose_fraction,
            noise_hu=noise,
            kernel=known[kernel.replace("-", " ")],
            region=region.value,
            slices=slices,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _places(folder: Path, name: str, slices: int) -> list[Path]:
    if slices == 1:
        return [folder / f"{name}.dcm"]
    return [folder / name / f"{number:03}.dcm" for number in range(1, slices + 1)]


def _check(folder: Path, places: dict[str, list[Path]], slices: int, *, overwrite: bool) -> None:
    """Before the work: is every place free, or to be replaced?

    Raises:
        CannotWrite: it is not, or a folder of slices would be left with other files among them.
    """
    taken = next((path for name in (LOW, FULL) for path in places[name] if path.exists()), None)
    if taken is not None and not overwrite:
        raise CannotWrite(f"{taken} exists; --overwrite replaces it")
    for name in (LOW, FULL) if slices > 1 and folder.is_dir() else ():
        inside = folder / name
        others = set(inside.iterdir()) - set(places[name]) if inside.is_dir() else set[Path]()
        if others:
            raise CannotWrite(f"{inside} holds other files, such as {min(others).name}; name another folder")


def _make(settings: SampleSettings) -> Sample:
    from clearslice.commands.terminal import stage_bars
    from imaging.sample import make_sample

    with stage_bars() as advance:
        return make_sample(settings, lambda done, total: advance("scanning the phantom twice", done, total))


def _write(places: list[Path], files: tuple[bytes, ...], *, overwrite: bool) -> None:
    from clearslice.offline import write_new

    for place, data in zip(places, files, strict=True):
        write_new(place, data, overwrite=overwrite)


def _tell(made: Sample, places: dict[str, list[Path]], folder: Path) -> None:
    """What was written, how far apart the two are, and the next commands, ready to be copied."""
    middle = len(made.scores) // 2
    scores, contract = made.scores[middle], made.scores[middle].contract
    low, full = places[LOW][middle], places[FULL][middle]
    single = len(made.scores) == 1
    taken, given = (low, folder / "restored.dcm") if single else (low.parent, folder / "restored")
    reference = f" --reference {shlex.quote(str(full))}" if single else ""
    typer.echo(
        f"{low}\n{full}\n"
        f"low dose against full dose: PSNR {scores.psnr:.2f} dB, SSIM {scores.ssim:.4f}"
        f" ({contract.name} [{contract.low:g}, {contract.high:g}] {contract.unit})\n\n"
        "Restore it with `clearslice serve` running; the header Clearslice-Metrics says what was gained:\n\n"
        f"  curl -f -D - -F image=@{shlex.quote(str(low))} -F reference=@{shlex.quote(str(full))} \\\n"
        "    http://127.0.0.1:8000/v1/reconstructions -o restored.dcm\n\n"
        "or without a server:\n\n"
        f"  clearslice reconstruct {shlex.quote(str(taken))} {shlex.quote(str(given))}{reference}"
    )

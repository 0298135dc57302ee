"""`clearslice advise`: noisy images -> what their noise is, which recipe suits it, and whether that is true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clearslice.commands.fit_options import CACHE
from clearslice.commands.terminal import ERRORS, expected_errors, quiet_tensorflow, stage_bars

if TYPE_CHECKING:
    from imaging.noise.profile import NoiseProfile
    from training.advice.advise import Advice, Winner
    from training.advice.noisy_images import NoisyImages
    from training.advice.verdict import Verification
    from training.domains import Domain

MEASURED_IMAGES = 24
"""Images that the noise is measured on, spread evenly: more would change no digit that matters."""

RUNNERS_UP = 2
"""That are trained beside the advised recipe and l2."""

RUNS = Path("runs/advice")


def advise(
    data: Annotated[
        Path,
        typer.Option(
            help="Folder with noisy/ and clean/ (files of equal names; or noisy/ and second/, two noisy images of each"
            " place); or a folder of noisy images, or a zip file of DICOM series. DICOM, PNG, TIFF, NPY."
        ),
    ],
    rescale_slope: Annotated[
        float | None, typer.Option(help="For PNG, TIFF and NPY: HU = slope x value + intercept.", show_default=False)
    ] = None,
    rescale_intercept: Annotated[
        float | None, typer.Option(help="Belongs to --rescale-slope.", show_default=False)
    ] = None,
    evidence: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help="report.json of `clearslice compare`, as docs/reports/which-loss.json: what it measured overrides"
            " the rules.",
            show_default=False,
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write a picture of the noise (PNG).", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,  # noqa: FBT002
    verify: Annotated[  # noqa: FBT002
        bool,
        typer.Option("--verify", help="Train shortly with the advice, two others and l2, and compare."),
    ] = False,
    epochs: Annotated[int, typer.Option(min=1, help="Of each training of --verify.")] = 2,
    steps: Annotated[int, typer.Option(min=1, help="Batches an epoch.")] = 250,
    batch: Annotated[int, typer.Option(min=1, help="Patches a batch.")] = 16,
    patch: Annotated[int, typer.Option(min=16, help="Side of a patch in pixels.")] = 64,
    references: Annotated[
        Path | None,
        typer.Option(
            help="For --verify without clean images: clean ones, as --data of `clearslice train`; the measured noise is"
            " imitated on them. Relative images need none.",
            show_default=False,
        ),
    ] = None,
    runs: Annotated[Path, typer.Option(help="Where the runs of --verify are kept; a killed one goes on.")] = RUNS,
    cache: Annotated[Path, typer.Option(help="As for `clearslice train`.")] = CACHE,
) -> None:
    """Measure the noise of your images and name the recipe that suits it, with its numbers and the reason.

    Measures level, tails, impulses, correlation and dependence on the signal. Without clean images the figures are
    estimates from flat parts of the images. --verify trains the advice against others and says when it was wrong.
    """
    if (rescale_slope is None) != (rescale_intercept is None):
        raise typer.BadParameter("--rescale-slope and --rescale-intercept belong together: give both or neither")
    quiet_tensorflow()
    from imaging.errors import ImagingError
    from training.errors import TrainingError

    with expected_errors(TrainingError, ImagingError, OSError):
        from imaging.image import Rescale
        from training.advice.advise import advise as advise_on
        from training.advice.noisy_images import read_noisy_images

        stated = (
            None if rescale_slope is None or rescale_intercept is None else Rescale(rescale_slope, rescale_intercept)
        )
        with stage_bars() as advance:
            images = read_noisy_images(data, rescale=stated, progress=advance, notice=ERRORS.print)
        domain: Domain = "ct" if images.unit == "HU" else "relative"
        profile = _measure(images, plot)
        advice = advise_on(
            profile,
            domain,
            targets="clean" if images.clean else "second" if images.second else "none",
            evidence=_read_evidence(evidence, domain),
        )
        if not as_json:
            _print_table(profile, advice, domain)
        verification = None
        if verify:
            from training.advice.verify import Budget
            from training.networks.unet import UNetConfig

            budget = Budget(epochs=epochs, steps=steps, batch=batch, patch=patch, network=UNetConfig((24, 40, 56), 2))
            verification = _verify(images, profile, advice, domain, budget, references, runs, cache)
        if as_json:
            from training.advice.report import to_json

            typer.echo(json.dumps(to_json(profile, advice, verification), indent=1))
        elif verification is not None:
            _print_verification(verification)


def _read_evidence(file: Path | None, domain: Domain) -> dict[str, Winner] | None:
    if file is None:
        return None
    from training.advice.evidence import read_evidence

    return read_evidence(file, domain)


def _measure(images: NoisyImages, plot: Path | None) -> NoiseProfile:
    from imaging.noise.blind import flat_profile, noise_of_flat_parts
    from imaging.noise.pairs import noise_of_pairs, pairs_profile

    some = images.some(MEASURED_IMAGES)
    if some.clean is not None:
        plain = noise_of_pairs(some.noisy, some.clean, some.unit)
        profile = pairs_profile(plain)
    else:
        plain = noise_of_flat_parts(some.noisy, some.unit)
        profile = flat_profile(plain, some.noisy)
    if plot is not None:
        from training.advice.noise_plot import plot_noise

        plot_noise(plain, profile, plot)
        ERRORS.print(f"written to {plot}")
    return profile


def _verify(
    images: NoisyImages,
    profile: NoiseProfile,
    advice: Advice,
    domain: Domain,
    budget: Any,
    references: Path | None,
    runs: Path,
    cache: Path,
) -> Verification:
    from training.advice.advise import settings_for
    from training.advice.noise_families import imitation
    from training.advice.verify import Contender, hold_out, measured_pairs, median_noise, verify
    from training.data.sources import series_of_role
    from training.degradations import prepare_degradation
    from training.errors import UnverifiableAdvice

    with stage_bars() as advance:
        if images.clean is not None:
            series, degradation = measured_pairs(images, domain)
            fit_series, held_out = hold_out(series)
        else:
            fit_series = series_of_role(domain, references, "fit", cache, progress=advance, notice=ERRORS.print)
            held_out = series_of_role(domain, references, "report", cache, progress=advance, notice=ERRORS.print)
            if not held_out:
                fit_series, held_out = hold_out(fit_series)
            imitated = imitation(profile, domain, own_noise=median_noise(fit_series))
            if imitated is None:
                raise UnverifiableAdvice("there is no noise to imitate, so no recipe to compare")
            degradation = imitated
            ERRORS.print(f"no clean images: trained on others with {degradation.label}")
            prepare_degradation(degradation, fit_series + held_out, progress=advance)
        others = dict.fromkeys((*advice.runners_up[:RUNNERS_UP], "l2"))
        contenders = [Contender(advice.recipe, advice.settings)]
        contenders += [Contender(name, settings_for(name, profile)) for name in others if name != advice.recipe]
        return verify(
            contenders, fit_series, held_out, degradation, runs, domain=domain, budget=budget, advance=advance
        )


def _print_table(profile: NoiseProfile, advice: Advice, domain: Domain) -> None:
    from rich.console import Console
    from rich.table import Table

    from training.advice.report import noise_rows

    table = Table("measured on " + profile.source, "", box=None, pad_edge=False)
    for name, value in noise_rows(profile):
        table.add_row(name, value)
    console = Console(highlight=False)
    console.print(table)
    numbers = "".join(f" --set {name}={value:g}" for name, value in advice.settings.items())
    console.print(f"\n[bold]advice: {domain}-{advice.recipe}[/bold]{numbers}")
    console.print(advice.reason)
    if advice.runners_up:
        console.print(f"Next best: {', '.join(advice.runners_up)}.")
    for doubt in advice.doubts:
        console.print(f"[yellow]but[/yellow] {doubt}.")


def _print_verification(verification: Verification) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("recipe", "PSNR, dB", box=None, pad_edge=False)
    for name, value in sorted(verification.psnr.items(), key=lambda item: -item[1]):
        table.add_row(name, f"{value:.2f}")
    console = Console(highlight=False)
    console.print()
    console.print(table)
    console.print(f"[bold]{verification.verdict}:[/bold] {verification.sentence}")
    console.print("This is one seed and a short training; `clearslice compare` takes more of both.")

"""`clearslice evidence`: versions, noise by noise on the tune patients -> what `auto` chooses by, and what it gains."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clearslice.commands.fit_options import CACHE
from clearslice.commands.models import WriteStore, open_store
from clearslice.commands.terminal import ERRORS, expected_errors, quiet_tensorflow, stage_bars

if TYPE_CHECKING:
    from imaging.image import Unit
    from model_store.version import ModelVersion
    from training.data.pairs import PreparedSeries
    from training.evaluation.evaluate import Restore


def evidence(
    refs: Annotated[
        list[str],
        typer.Argument(
            metavar="REF...",
            help="Published models, such as ct-l2 ct-l1-ssim@2. The first of each domain is its default: what `auto`"
            " takes unless another is ahead by 0.1 dB.",
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder with tune/, and validation/ to see what auto gains, for ct. Relative models are scored on"
            " shipped pictures."
        ),
    ] = None,
    store: WriteStore = None,
    cache: Annotated[Path, typer.Option(help="As for `clearslice train`.")] = CACHE,
) -> None:
    """Score models under a range of noises on the tune patients, for the model ref `auto` to choose by.

    The table goes into the store as evidence.json and replaces the one that is there. Run it again after publishing: a
    version without scores is never chosen. What `auto` gains over the default on validation/ is printed below.
    """
    quiet_tensorflow()
    from imaging.errors import ImagingError
    from model_store.errors import ModelStoreError
    from training.errors import NoTrainingData, TrainingError

    with expected_errors(TrainingError, ImagingError, ModelStoreError, OSError):
        from training.data.datasets import check_roles, check_unseen
        from training.data.sources import series_of_role
        from training.degradations import prepare_degradation
        from training.evaluation.evidence import (
            as_evidence,
            evidence_degradations,
            gather_rows,
            measure_gains,
            render_evidence,
            render_gains,
        )

        opened = open_store(store)
        by_unit: dict[Unit, list[ModelVersion]] = {}
        for version in [opened.resolve(ref) for ref in refs]:
            by_unit.setdefault(version.manifest.unit, []).append(version)
        rows = []
        tune: dict[Unit, list[PreparedSeries]] = {}
        restorers: dict[Unit, dict[str, Restore]] = {}
        with stage_bars() as advance:
            for unit, versions in by_unit.items():
                domain = versions[0].manifest.domain
                place = data if domain == "ct" else None
                tune[unit] = series_of_role(domain, place, "tune", cache, progress=advance, notice=ERRORS.print)
                if not tune[unit]:
                    raise NoTrainingData(f"{data} has no folder tune/: there is nothing to score models on")
                degradations = evidence_degradations(unit)
                for each in degradations:
                    prepare_degradation(each, tune[unit], progress=advance)
                for version in versions:
                    seen = [each.model_dump() for each in version.manifest.training_data]
                    check_unseen(tune[unit], seen, version.ref)
                restorers[unit] = {version.ref: _restore(version) for version in versions}
                rows += gather_rows(restorers[unit], tune[unit], degradations, progress=advance)
        found = as_evidence(rows, {unit: versions[0].ref for unit, versions in by_unit.items()}, tune)
        opened.set_evidence(found)
        typer.echo(render_evidence(found))
        with stage_bars() as advance:
            for unit, versions in by_unit.items():
                domain = versions[0].manifest.domain
                place = data if domain == "ct" else None
                report = series_of_role(domain, place, "report", cache, progress=advance, notice=ERRORS.print)
                check_roles({"tune": tune[unit], "report": report})
                for version in versions:
                    seen = [each.model_dump() for each in version.manifest.training_data]
                    check_unseen(report, seen, version.ref)
                degradations = evidence_degradations(unit)
                for each in degradations if report else ():
                    prepare_degradation(each, report, progress=advance)
                if report:
                    gains = measure_gains(found, restorers[unit], report, degradations, progress=advance)
                    typer.echo(render_gains(gains))


def _restore(version: ModelVersion) -> Restore:
    from model_store.restorer import load_restorer

    restorer = load_restorer(version)
    return lambda image: restorer(image[None, ..., None])[0, ..., 0]

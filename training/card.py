"""The model card: one page for people, written from the manifest's draft and the evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imaging.image import Unit
from model_store.manifest import ManifestDraft
from training.calibration.calibrate import Calibration, render_calibration
from training.degradations import degradation_from_json
from training.evaluation.evaluate import Row
from training.evaluation.score_tables import render_markdown
from training.recipes import RECIPES
from training.targets import Target
from training.weak_points import render_weak_points

AGAINST: dict[Target, str] = {
    "reference": "the reference",
    "second": "a second image of the same place with noise of its own: no reference",
    "halves": "half of the views against the other half, simulated as noise of twice the variance: no reference",
}

SCORED: dict[Unit, str] = {
    "HU": "On patients that were neither fitted nor tuned on; noise simulated as in training.",
    "relative": "On pictures that were neither fitted nor tuned on. Every picture stands for a patient.",
}

SPREADS = {
    "sigma": "the expected error of each pixel (a standard deviation)",
    "lower": "the low end of its interval",
    "upper": "the high end",
}

LIMITS: dict[Unit, str] = {
    "HU": """\
- Trained on simulated noise added to real scans. Scanners differ in kernels, bow-tie filters, dose modulation and
  iterative reconstruction; expect less on them than in the table.
- The reference images are clinical scans with noise of their own. The network learns to remove part of that too, so
  agreement with a noisy reference understates, and its smoothness overstates, what a reader would see.
- An L2-like loss gives the mean of what is plausible: fine low-contrast texture is smoothed. Compare with the input
  before trusting an absence.
- Not measured on patients: metal artefacts, photon starvation, heads (one series of them was trained on), motion,
  children, anything but single axial slices.""",
    "relative": """\
- Trained on few pictures with simulated noise that each pixel has on its own. Noise that neighbours share, as after
  demosaicing or JPEG, is not what it knows.
- Grey values only, from 0 to 1; noise beyond that should not be clipped before.
- Fine texture as strong as the noise is smoothed.""",
}


def render_card(draft: ManifestDraft, rows: Sequence[Row], calibration: Calibration | None = None) -> str:
    """Markdown with data, settings, scores with intervals and baselines, limits and intended use.

    Args:
        draft: of the manifest.
        rows: of the evaluation: of this model, the degraded images and the filters.
        calibration: of guard and intervals, and hard cases.
    """
    settings = draft.training_settings
    recipe = RECIPES.get(draft.recipe)
    warning = recipe.warning if recipe else ""
    features = settings.get("features")
    patches = settings.get("epochs", 0) * settings.get("steps", 0) * settings.get("batch", 0)
    data = [f"| {each.series} | {each.slices} | {each.collection} | {each.licence} |" for each in draft.training_data]
    return f"""# {draft.name}

{draft.summary}

**Intended use.** {draft.intended_use}
{f"{chr(10)}**Warning.** {warning}{chr(10)}" if warning else ""}
| | |
|---|---|
| takes and gives | {draft.unit}, (N, H, W, 1) float32, any size |
{_uncertainty(draft)}\
| parameters | {draft.parameters:,} |
| receptive field | {draft.receptive_field} pixels |
| loss | {draft.recipe} {draft.recipe_settings or ""}{f", features of {_source(features)}" if features else ""} |
| trained | {settings.get("epochs")} epochs of {settings.get("steps")} steps, \
{patches:,} patches of {settings.get("patch")} pixels, {settings.get("precision")}, seed {settings.get("seed")} |
{_start(settings)}\
| noise in training | {_noise(settings.get("noise", {}))} |
| trained against | {AGAINST[recipe.target] if recipe else AGAINST["reference"]} |
| made by | clearslice {draft.provenance.clearslice}, {draft.provenance.source_revision}, \
{draft.provenance.created.date().isoformat()}, {draft.provenance.device} |

## Data

| series | slices | collection | licence |
|---|---|---|---|
{chr(10).join(data)}

## Scores

{SCORED[draft.unit]}

{render_markdown(rows) if rows else "Not evaluated."}
{_calibration(calibration)}\
## Where it fails

{render_weak_points(draft.name, rows, calibration.hard_cases if calibration else ()) or "Not measured."}
## Limits

{LIMITS[draft.unit]}
"""


def _uncertainty(draft: ManifestDraft) -> str:
    """A line of the table for models with the signature `with_uncertainty`."""
    if not draft.spread_outputs:
        return ""
    means = " and ".join(f"{name}, {SPREADS[name]}" for name in draft.spread_outputs)
    return f"| `with_uncertainty` also gives | {means}; true for images like those of training, and no guarantee |\n"


def _calibration(calibration: Calibration | None) -> str:
    """A section on the guard's false alarms and, of models that have them, on the intervals."""
    if calibration is None:
        return ""
    heading = "Guard and intervals" if calibration.intervals else "Guard"
    table = render_calibration(calibration) or "Not measured on other patients."
    return (
        f"## {heading}\n\nAn answer beyond what {calibration.guard.images} images of {calibration.guard.patients} tune"
        f" patients showed carries a warning. On the patients below it would have been false.\n\n{table}\n"
    )


def _start(settings: Mapping[str, Any]) -> str:
    """A line of the table for models that did not begin with random weights."""
    start = settings.get("start")
    if not start:
        return ""
    how = f"{start['trained']}: " if start.get("trained") else ""
    return f"| before that | {how}the weights of {start['of']}, SHA-256 {start['sha256'][:12]} |\n"


def _noise(noise: Mapping[str, Any]) -> str:
    """In words, of a `DoseRange` or a `Degradation` in JSON."""
    if "name" in noise:
        return degradation_from_json(noise).label
    return (
        f"projection domain, {_per_cent(noise['own_share'])} of the patches at {noise['low']:g} to {noise['high']:g} of"
        f" the scan's own dose with the texture of its own noise; the others with {noise['low_hu']:g} to"
        f" {noise['high_hu']:g} HU of noise, {_per_cent(1 - noise['own_texture'])} of them of any texture from"
        f" plain ramp to very soft; up to {_per_cent(noise['electronic_share'])} of the variance electronic;"
        f" {_per_cent(noise['clean_share'])} of the patches at full dose,"
        f" {_per_cent(noise['smooth_share'])} without noise"
    )


def _per_cent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _source(features: Mapping[str, str]) -> str:
    """In words, of a `training.networks.features.FeatureSource` in JSON."""
    if features["network"] == "encoder":
        return "an encoder trained on the same series"
    return f"{Path(features['file']).name} {features['layer']}".strip() + f", sha256 {features['sha256'][:12]}"

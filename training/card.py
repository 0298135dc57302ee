"""The model card: one page for people, written from the manifest's draft and the evaluation."""

from __future__ import annotations

from collections.abc import Sequence

from model_store.manifest import ManifestDraft
from training.evaluate import Row, render_markdown

LIMITS = """\
- Trained on simulated noise added to real scans. Scanners differ in kernels, bow-tie filters, dose modulation and
  iterative reconstruction; expect less on them than in the table.
- The reference images are clinical scans with noise of their own. The network learns to remove part of that too, so
  agreement with a noisy reference understates, and its smoothness overstates, what a reader would see.
- An L2-like loss gives the mean of what is plausible: fine low-contrast texture is smoothed. Compare with the input
  before trusting an absence.
- Not measured: metal artefacts, photon starvation, motion, paediatric patients, anything but single axial slices."""


def render_card(draft: ManifestDraft, rows: Sequence[Row]) -> str:
    """Markdown with data, settings, scores with intervals and baselines, limits and intended use."""
    settings = draft.training_settings
    patches = settings.get("epochs", 0) * settings.get("steps", 0) * settings.get("batch", 0)
    noise = settings.get("noise", {})
    data = [f"| {each.series} | {each.slices} | {each.collection} | {each.licence} |" for each in draft.training_data]
    return f"""# {draft.name}

{draft.summary}

**Intended use.** {draft.intended_use}

| | |
|---|---|
| takes and gives | {draft.unit}, (N, H, W, 1) float32, any size |
| parameters | {draft.parameters:,} |
| receptive field | {draft.receptive_field} pixels |
| loss | {draft.recipe} {draft.recipe_settings or ""} |
| trained | {settings.get("epochs")} epochs of {settings.get("steps")} steps, \
{patches:,} patches of {settings.get("patch")} pixels, {settings.get("precision")}, seed {settings.get("seed")} |
| noise in training | projection domain, {noise.get("low")} to {noise.get("high")} of the scan's own dose, \
log-uniform, times a factor of up to {noise.get("spread")} either way; \
up to {100 * noise.get("electronic_share", 0):.0f} % of the variance electronic; \
four kernels from plain ramp to very soft; {100 * noise.get("clean_share", 0):.0f} % of the patches clean |
| made by | clearslice {draft.provenance.clearslice}, {draft.provenance.source_revision}, \
{draft.provenance.created.date().isoformat()}, {draft.provenance.device} |

## Data

| series | slices | collection | licence |
|---|---|---|---|
{chr(10).join(data)}

## Scores

On patients that were neither fitted nor tuned on; noise simulated as in training.

{render_markdown(rows) if rows else "Not evaluated."}
## Limits

{LIMITS}
"""

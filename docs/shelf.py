"""docs/shelf.md: the models that ship, side by side, from their manifests.

published versions --manifests: scores, sizes--> tables --write--> docs/shelf.md
`make docs` writes it; tests/test_shelf_page.py says when it is out of date.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from model_store.manifest import Manifest, Score
from model_store.store import PUBLISHED, ModelStore
from model_store.version import ModelVersion

PAGE = Path(__file__).with_name("shelf.md")

HEAD = """# The shelf

The models that ship, each trained with another loss under the same budget; `make models` makes them again. The card of
each, behind its name, has the data, the filters it was held against, and where it fails. All are for research, and none
is a medical device. `make docs` writes this page from their manifests.

"""

MAIN = {"HU": "soft tissue window", "relative": "relative"}
"""Unit -> the contract that is shown."""

NOTES = {
    "HU": "PSNR in dB and, of a full dose, which needs nothing, the change in HU RMS; both in [-160, 240] HU, clipped.",
    "relative": "PSNR in dB over [0, 1], clipped.",
}


def page(store: ModelStore) -> str:
    """The text of docs/shelf.md."""
    versions = [store.resolve(name) for name in store.names()]
    default = store.resolve(store.default_ref()).ref
    text = HEAD
    for unit, title in (("HU", "CT"), ("relative", "Grayscale pictures")):
        of_unit = [version for version in versions if version.manifest.unit == unit]
        if of_unit:
            text += (
                f"## {title}\n\n{_table(of_unit, default)}\n{NOTES[unit]} Means over {_who(of_unit[0].manifest)}.\n\n"
            )
    return text.rstrip() + "\n"


def _table(versions: Sequence[ModelVersion], default: str) -> str:
    degradations = list(dict.fromkeys(score.degradation for each in versions for score in each.manifest.scores))
    heads = [_short(each) for each in degradations]
    lines = [f"| model | {' | '.join(heads)} | SSIM, {heads[0]} | MB |" if heads else "| model | MB |"]
    lines.append("|---" * (lines[0].count("|") - 1) + "|")
    for version in versions:
        cells = [_cell(version.manifest, each) for each in degradations]
        if degradations:
            ssim = _score(version.manifest, degradations[0], "ssim")
            cells.append(f"{ssim.restored:.4f}" if ssim else "")
        megabytes = sum(file.stat().st_size for file in version.path.rglob("*") if file.is_file()) / 1e6
        name = f"[{version.name}](../model_store/published/{version.name}/{version.version}/README.md)"
        mark = " (default)" if version.ref == default else ""
        lines.append(f"| {name}@{version.version}{mark} | {' | '.join([*cells, f'{megabytes:.1f}'])} |")
    return "\n".join(lines) + "\n"


def _cell(manifest: Manifest, degradation: str) -> str:
    psnr = _score(manifest, degradation, "psnr")
    if psnr is not None and math.isfinite(psnr.restored):
        return f"{psnr.restored:.2f}"
    rmse = _score(manifest, degradation, "rmse")
    return "" if rmse is None else f"{rmse.restored:.2f} HU"


def _score(manifest: Manifest, degradation: str, metric: str) -> Score | None:
    fitting = (
        score
        for score in manifest.scores
        if (score.degradation, score.metric, score.contract.name) == (degradation, metric, MAIN[manifest.unit])
    )
    found = next(fitting, None)
    # at full dose the degraded image is the reference: no PSNR to be compared with
    return None if metric == "psnr" and ", dose fraction 1 " in degradation else found


def _short(degradation: str) -> str:
    """Of a label the numbers that differ: `low-dose-matched, dose fraction 0.25 of ...` -> `low-dose-matched 0.25`."""
    name, *settings = degradation.split(", ")
    numbers = [
        part.split(" of ")[0].split()[-1] for part in settings if part.startswith(("dose fraction", "sigma", "share"))
    ]
    return " ".join([name, *numbers])


def _who(manifest: Manifest) -> str:
    if not manifest.scores:
        return "nothing yet"
    score = manifest.scores[0]
    who = "patients" if manifest.unit == "HU" else "pictures"
    return f"{score.patients} {who}, {score.images} images, that were neither fitted nor tuned on"


if __name__ == "__main__":
    PAGE.write_text(page(ModelStore(None, PUBLISHED)), encoding="utf-8")

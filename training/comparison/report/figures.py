"""Figures: curves as SVG that takes the page's colours, crops as small WebP files; both as text to put into a page.

phantom results --matplotlib--> SVG, axes in `currentColor`: readable in dark and light
crop, difference from the truth --window, 64 greys--> lossless WebP, base64
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from imaging.image import Unit
from imaging.metrics import MetricContract
from training.evaluation.image_scores import Picture
from training.svg import svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIFFERENCE: dict[Unit, float] = {"HU": 60.0, "relative": 0.15}
"""What is black and white in a difference image, to either side of grey, in the unit: a sixth of the window or so."""

FREQUENCY: dict[Unit, str] = {"HU": "frequency, 1/mm", "relative": "frequency, cycles per pixel"}
POWER: dict[Unit, str] = {"HU": "noise power, HU² mm²", "relative": "noise power"}

_GREYS = 64  # more are not told apart in a noisy picture, and would double its file
_LINES = ("solid", "dashed", "dotted")


def crop_image(crop: Picture, contract: MetricContract) -> str:
    """A crop in the contract's range as a `data:` URL of a WebP file."""
    return _webp((crop - contract.low) / contract.data_range)


def difference_image(crop: Picture, reference: Picture, unit: Unit) -> str:
    """restored - reference, grey where equal, as a `data:` URL of a WebP file; see `DIFFERENCE`."""
    return _webp(0.5 + (crop - reference) / (2 * DIFFERENCE[unit]))


def curves(methods: Mapping[str, Mapping[str, Any]], unit: Unit, *, salt: str) -> str:
    """Noise power spectrum and transfer at high and at low contrast of every method, as an SVG element.

    Args:
        methods: name -> `training.evaluation.phantom_tests.PhantomResult.to_json`.
        unit: of the images.
        salt: makes the element's ids its own in a page with several.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots(1, 3)
        panels = (
            ("noise", POWER[unit], "noise that is left"),
            ("high", "transfer", "edges of high contrast"),
            ("low", "transfer", "edges of low contrast"),
        )
        for axis, (what, label, title) in zip(axes, panels, strict=True):
            for number, (name, result) in enumerate(methods.items()):
                curve = _curve(result, what)
                if curve is not None:
                    line = {"color": f"C{number % 10}", "linestyle": _LINES[number // 10 % len(_LINES)]}
                    axis.plot(curve["frequency"], curve["values"], label=name, linewidth=1.4, **line)
            axis.set(xlabel=FREQUENCY[unit], ylabel=label, title=title, xlim=(0, None), ylim=(0, None))
            axis.grid(alpha=0.2)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False)

    return svg((11, 3.6), draw, salt=salt)


def _curve(result: Mapping[str, Any], what: str) -> Any:
    """Frequency and values, or None where a transfer could not be measured."""
    found = result["spectrum"] if what == "noise" else result["transfer"][what]
    return found and found["curve"]


def _webp(shares: Any) -> str:
    """(H, W) of 0 (black) to 1 (white)."""
    levels: Sequence[Any] = np.round(np.clip(shares, 0, 1) * (_GREYS - 1)) * (255 / (_GREYS - 1))
    stream = io.BytesIO()
    Image.fromarray(np.asarray(levels, np.uint8), "L").save(stream, "WEBP", lossless=True, quality=100, method=6)
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"

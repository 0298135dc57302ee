"""Figures as SVG elements to put into a page: they take its colours, so they are readable in dark and in light.

draw(figure) --matplotlib, axes in `currentColor`--> <svg ...>, of the page's width
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INK = "#010203"  # stands for the page's own colour until the SVG is written


def svg(size: tuple[float, float], draw: Callable[[Figure], None], *, salt: str) -> str:
    """The element that `draw` makes of an empty figure, the same every time.

    Args:
        size: width and height in inches; it only sets the proportions and how large letters are.
        draw: puts axes and curves on the figure.
        salt: makes the element's ids its own in a page with several.
    """
    import matplotlib as mpl  # noqa: PLC0415 - heavy, and only reports need it
    from matplotlib.figure import Figure  # noqa: PLC0415 - same; no pyplot, which would keep it

    style: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": salt,
        "font.family": "sans-serif",
        "font.size": 9,
        "text.color": _INK,
        "axes.edgecolor": _INK,
        "axes.labelcolor": _INK,
        "xtick.color": _INK,
        "ytick.color": _INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _inline(stream.getvalue())


def _inline(text: str) -> str:
    """The element alone, without prologue and metadata, of the page's width and colour, numbers no finer than seen."""
    element = text[text.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>\s*", "", element, flags=re.DOTALL)
    element = re.sub(r' xmlns:xlink="[^"]*"', "", element).replace("xlink:href", "href")
    element = re.sub(r' xmlns="[^"]*"', "", element)  # HTML knows what svg is
    element = re.sub(r' width="[^"]*pt" height="[^"]*pt"', ' role="img"', element, count=1)
    element = re.sub(r" font-family: [^;]*;", "", element)  # the page's own
    element = re.sub(r"(\d+\.\d{2})\d+", r"\1", element)
    return element.replace(_INK, "currentColor")

"""Draws the picture of the README from the sample and the shipped default model: `make pictures`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from imaging.metrics import SOFT_TISSUE, measure
from imaging.sample import SampleSettings, make_sample
from model_store.restorer import load_restorer
from model_store.store import ModelStore

BODY = np.s_[84:428, 12:500]
LIVER = np.s_[140:270, 96:280]
"""Shown below, enlarged to the same width."""

CAPTION_PIXELS = 26
FONT = ImageFont.load_default(size=18)


def main() -> None:
    """Writes docs/pictures/before-after.png: low dose, restored, full dose; soft-tissue window [-160, 240] HU."""
    settings = SampleSettings()
    sample = make_sample(settings)
    degraded, reference = sample.low_dose[0], sample.full_dose[0]
    store = ModelStore()
    restorer = load_restorer(store.resolve(store.default_ref()))
    restored = restorer(degraded[None, ..., None])[0, ..., 0]
    panels = []
    for title, image in (
        (f"{settings.dose_fraction:g} of the dose", degraded),
        (f"restored by {restorer.version.ref}", restored),
        ("full dose", reference),
    ):
        scores = measure(image, reference, SOFT_TISSUE)
        text = title if image is reference else f"{title}: {scores.psnr:.1f} dB, SSIM {scores.ssim:.3f}"
        panels.append(_panel(image, text))
    picture = np.concatenate(panels, axis=1)
    Image.fromarray(picture).save(Path(__file__).parent / "pictures" / "before-after.png", optimize=True)


def _panel(hu: NDArray[np.float32], text: str) -> NDArray[Any]:
    window = np.clip((hu - SOFT_TISSUE.low) / SOFT_TISSUE.data_range, 0, 1)
    grey = (window * 255).astype(np.uint8)
    body, liver = (Image.fromarray(grey[where]) for where in (BODY, LIVER))
    liver = liver.resize((body.width, liver.height * body.width // liver.width), Image.Resampling.BICUBIC)
    canvas = Image.new("L", (body.width, CAPTION_PIXELS + body.height + liver.height))
    canvas.paste(body, (0, CAPTION_PIXELS))
    canvas.paste(liver, (0, CAPTION_PIXELS + body.height))
    ImageDraw.Draw(canvas).text((6, 2), text, fill=255, font=FONT)
    return np.asarray(canvas)


if __name__ == "__main__":
    main()

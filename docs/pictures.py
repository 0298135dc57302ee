"""Draws the pictures of the README from a phantom and the shipped default model: `make pictures`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from imaging.low_dose import SOFT, simulate
from imaging.metrics import SOFT_TISSUE, measure
from imaging.phantom import trunk
from model_store.restorer import load_restorer
from model_store.store import ModelStore

SPACING = (0.7, 0.7)
CROP = np.s_[95:415, 30:482]


def main() -> None:
    """Writes docs/pictures/before-after.png: quarter dose, restored, full dose; soft-tissue window [-160, 240] HU."""
    rng = np.random.default_rng(7)
    truth = trunk((512, 512), SPACING, rng)
    degraded = simulate(truth, SPACING, dose_fraction=0.25, noise_hu=15, kernel=SOFT, electronic_noise=4, rng=rng)
    store = ModelStore()
    restorer = load_restorer(store.resolve(store.default_ref()))
    restored = restorer(degraded[None, ..., None])[0, ..., 0]
    panels = []
    for title, image in (
        ("quarter dose", degraded),
        (f"restored by {restorer.version.ref}", restored),
        ("truth", truth),
    ):
        scores = measure(image, truth, SOFT_TISSUE)
        text = title if image is truth else f"{title}: {scores.psnr:.1f} dB, SSIM {scores.ssim:.3f}"
        panels.append(_panel(image[CROP], text))
    picture = np.concatenate(panels, axis=1)
    Image.fromarray(picture).save(Path(__file__).parent / "pictures" / "before-after.png", optimize=True)


def _panel(hu: np.ndarray, text: str) -> np.ndarray:
    window = np.clip((hu - SOFT_TISSUE.low) / SOFT_TISSUE.data_range, 0, 1)
    picture = Image.fromarray((window * 255).astype(np.uint8))
    canvas = Image.new("L", (picture.width, picture.height + 20))
    canvas.paste(picture, (0, 20))
    ImageDraw.Draw(canvas).text((6, 4), text, fill=255)
    return np.asarray(canvas)


if __name__ == "__main__":
    main()

"""Classical baselines: what a recipe has to beat. Each has one parameter, tuned per degradation on the tune patients.

All take and give one image, (H, W) float32 in HU. Scans differ in noise, and a network sees how noisy its input is; so
that the comparison is fair, total variation and non-local means see it too: their parameter is a multiple of the noise
level measured in the image that they are given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imaging.metrics import SOFT_TISSUE, psnr
from imaging.noise import global_noise_level

Picture = NDArray[np.float32]

USUAL_NOISE_HU = 25.0
"""Of a low-dose body scan."""


@dataclass(frozen=True)
class Baseline:
    """A filter and the grid its parameter is chosen from.

    Attributes:
        name: as the tables print it.
        function: (image, parameter) -> image.
        grid: candidates for the parameter.
        unit: of the parameter.
    """

    name: str
    function: Callable[[Picture, float], Picture]
    grid: tuple[float, ...]
    unit: str


@dataclass(frozen=True)
class TunedBaseline:
    """A baseline at the parameter that gave the best mean PSNR on the tune patients."""

    baseline: Baseline
    parameter: float

    def __call__(self, image: Picture) -> Picture:
        return self.baseline.function(image, self.parameter)

    @property
    def label(self) -> str:
        """Name with its parameter, such as `Gaussian (1 px)`."""
        return f"{self.baseline.name} ({self.parameter:g} {self.baseline.unit})"


def gaussian(image: Picture, sigma: float) -> Picture:
    """Gaussian filter with standard deviation `sigma` in pixels."""
    return np.asarray(ndimage.gaussian_filter(image, sigma), np.float32)


def total_variation(image: Picture, weight: float) -> Picture:
    """Total variation after Chambolle (J Math Imaging Vis 2004; 20:89-97); `weight` in noise levels."""
    from skimage.restoration import denoise_tv_chambolle  # noqa: PLC0415 - heavy

    strength = weight * noise_level(image) / 1000
    if strength == 0:
        return image
    return np.asarray(denoise_tv_chambolle(image.astype(np.float64) / 1000, weight=strength) * 1000, np.float32)


def non_local_means(image: Picture, h: float) -> Picture:
    """Non-local means (Buades et al., CVPR 2005), 5 x 5 patches within 6 pixels; cut-off `h` in noise levels."""
    from skimage.restoration import denoise_nl_means  # noqa: PLC0415 - heavy

    cut_off = h * noise_level(image) / 1000
    if cut_off == 0:
        return image
    # skimage works in the image's own scale; HU over 1000 keeps its float32 sums accurate
    scaled = image.astype(np.float32) / 1000
    restored = denoise_nl_means(scaled, patch_size=5, patch_distance=6, h=cut_off, fast_mode=True)
    return np.asarray(restored * 1000, np.float32)


def noise_level(image: Picture) -> float:
    """Noise of the image in HU as `global_noise_level` reads it, or a usual one where there is no soft tissue."""
    level = global_noise_level(image)
    return level if np.isfinite(level) else USUAL_NOISE_HU


BASELINES = (
    Baseline("Gaussian", gaussian, (0.4, 0.5, 0.6, 0.7, 0.9, 1.2, 1.6), "px"),
    Baseline("total variation", total_variation, (0.2, 0.35, 0.5, 0.7, 0.9, 1.2, 1.6), "x noise"),
    Baseline("non-local means", non_local_means, (0.3, 0.45, 0.6, 0.8, 1.0, 1.3, 1.7), "x noise"),
)


def tune(
    baseline: Baseline,
    pairs: Sequence[tuple[Picture, Picture]],
    pool: Executor,
    advance: Callable[[], None] = lambda: None,
) -> TunedBaseline:
    """The parameter with the best mean PSNR under the soft-tissue contract over (degraded, reference) pairs."""
    means = []
    for parameter in baseline.grid:
        scores: Iterable[float] = pool.map(partial(_score, baseline, parameter), pairs)
        means.append(float(np.mean(list(scores))))
        advance()
    return TunedBaseline(baseline, baseline.grid[int(np.argmax(means))])


def _score(baseline: Baseline, parameter: float, pair: tuple[Picture, Picture]) -> float:
    degraded, reference = pair
    return float(psnr(baseline.function(degraded, parameter), reference, SOFT_TISSUE))

"""Classical baselines: what a recipe has to beat. Each has one parameter, tuned per degradation on the tune patients.

All take and give one image, (H, W) float32 in HU or relative. Scans differ in noise, and a network sees how noisy its
input is; so that the comparison is fair, total variation, non-local means and the bilateral filter see it too: their
parameter is a multiple of the noise level measured in the image that they are given.

BM3D is not among them: its only free implementation may not be used commercially, so it is no dependency, and code that
no test can run is worse than none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import ndimage

from imaging.image import Unit
from imaging.metrics import psnr
from imaging.noise.level import global_noise_level
from training.evaluation.image_scores import CONTRACTS, Picture

USUAL_NOISE_HU = 25.0
"""Of a low-dose body scan."""

_BILATERAL_SIGMA_PX = 1.5
_BILATERAL_REACH = 3  # pixels: two standard deviations to either side

_LAPLACIAN = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float64)
_LAPLACIAN_GAIN = 6.0  # root of the sum of its squares: what white noise is multiplied by
_NORMAL_MAD = 0.6745  # median of the absolute value of a standard Gaussian


@dataclass(frozen=True)
class Baseline:
    """A filter and the grid its parameter is chosen from.

    Attributes:
        name: as the tables print it.
        function: (image, parameter, noise level of the image in its unit) -> image.
        grid: candidates for the parameter.
        unit: of the parameter.
    """

    name: str
    function: Callable[[Picture, float, float], Picture]
    grid: tuple[float, ...]
    unit: str


@dataclass(frozen=True)
class TunedBaseline:
    """A baseline at the parameter that gave the best mean PSNR on the tune patients, for images of one unit."""

    baseline: Baseline
    parameter: float
    image_unit: Unit

    def __call__(self, image: Picture) -> Picture:
        return self.baseline.function(image, self.parameter, noise_level(image, self.image_unit))

    @property
    def label(self) -> str:
        """Name with its parameter, such as `Gaussian (1 px)`."""
        return f"{self.baseline.name} ({self.parameter:g} {self.baseline.unit})"


def gaussian(image: Picture, sigma: float, _noise: float) -> Picture:
    """Gaussian filter with standard deviation `sigma` in pixels."""
    return np.asarray(ndimage.gaussian_filter(image, sigma), np.float32)


def median(image: Picture, side: float, _noise: float) -> Picture:
    """Median of a square of `side` pixels, odd: the filter for impulse noise."""
    return np.asarray(ndimage.median_filter(image, int(side)), np.float32)


def bilateral(image: Picture, sigma: float, noise: float) -> Picture:
    """Bilateral filter (Tomasi and Manduchi, ICCV 1998), 1.5 pixels wide; `sigma` of the range in noise levels.

    Written out here: scikit-image 0.26 reads its table of distances, which is a column too wide, at the wrong places.
    """
    if noise == 0:
        return image
    height, width = image.shape
    padded = np.pad(image.astype(np.float32), _BILATERAL_REACH, mode="symmetric")
    change, weights = np.zeros_like(image, np.float32), np.zeros_like(image, np.float32)
    side = 2 * _BILATERAL_REACH + 1
    for row, column in np.ndindex(side, side):
        away = np.float32(((row - _BILATERAL_REACH) ** 2 + (column - _BILATERAL_REACH) ** 2) / _BILATERAL_SIGMA_PX**2)
        difference = padded[row : row + height, column : column + width] - image
        weight = np.exp(np.float32(-0.5) * (away + (difference / np.float32(sigma * noise)) ** 2))
        change += weight * difference
        weights += weight
    return np.asarray(image + change / weights, np.float32)


def total_variation(image: Picture, weight: float, noise: float) -> Picture:
    """Total variation after Chambolle (J Math Imaging Vis 2004; 20:89-97); `weight` in noise levels."""
    from skimage.restoration import denoise_tv_chambolle  # noqa: PLC0415 - heavy

    if noise == 0:
        return image
    return np.asarray(denoise_tv_chambolle(image.astype(np.float64) / noise, weight=weight) * noise, np.float32)


def non_local_means(image: Picture, h: float, noise: float) -> Picture:
    """Non-local means (Buades et al., CVPR 2005), 5 x 5 patches within 6 pixels; cut-off `h` in noise levels."""
    from skimage.restoration import denoise_nl_means  # noqa: PLC0415 - heavy

    if noise == 0:
        return image
    scaled = (image / noise).astype(np.float32)
    restored = denoise_nl_means(scaled, patch_size=5, patch_distance=6, h=h, fast_mode=True)
    return np.asarray(restored * noise, np.float32)


def noise_level(image: Picture, unit: Unit) -> float:
    """Noise of the image in its unit.

    HU: in soft tissue, as `global_noise_level` reads it, or a usual one where there is none. Relative: the median
    absolute response to Immerkaer's Laplacian (Computer Vision and Image Understanding 1996; 64:300-302), which edges
    and impulses hardly move; noise that is correlated reads low.
    """
    if unit == "HU":
        level = global_noise_level(image)
        return level if np.isfinite(level) else USUAL_NOISE_HU
    response = ndimage.convolve(image.astype(np.float64), _LAPLACIAN)
    return float(np.median(np.abs(response))) / (_LAPLACIAN_GAIN * _NORMAL_MAD)


BASELINES = (
    Baseline("Gaussian", gaussian, (0.4, 0.5, 0.6, 0.7, 0.9, 1.2, 1.6), "px"),
    Baseline("median", median, (3, 5, 7), "px"),
    Baseline("bilateral", bilateral, (0.7, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0), "x noise"),
    Baseline("total variation", total_variation, (0.2, 0.35, 0.5, 0.7, 0.9, 1.2, 1.6), "x noise"),
    Baseline("non-local means", non_local_means, (0.3, 0.45, 0.6, 0.8, 1.0, 1.3, 1.7), "x noise"),
)


def tune(
    baseline: Baseline,
    pairs: Sequence[tuple[Picture, Picture]],
    unit: Unit,
    pool: Executor,
    advance: Callable[[], None] = lambda: None,
) -> TunedBaseline:
    """The parameter with the best mean PSNR under the unit's main contract over (degraded, reference) pairs."""
    means = []
    for parameter in baseline.grid:
        work = partial(_score, TunedBaseline(baseline, parameter, unit))
        scores: Iterable[float] = pool.map(work, pairs)
        means.append(float(np.mean(list(scores))))
        advance()
    return TunedBaseline(baseline, baseline.grid[int(np.argmax(means))], unit)


def _score(tuned: TunedBaseline, pair: tuple[Picture, Picture]) -> float:
    degraded, reference = pair
    return float(psnr(tuned(degraded), reference, CONTRACTS[tuned.image_unit][0]))

"""Many low doses to train over: of the scans that there are, and of scans that are not there.

    DoseRange --of_one_level--> DoseLevel --pair: unit noise, mixed--> (degraded, what the full dose would have been)

docs/decisions/0009 says what each part of the distribution is for, and what it gained.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from imaging.low_dose import RAMP, VERY_SOFT, kernel_correlation, kernel_shares
from training.data.pairs import PreparedSeries, Window
from training.data.unit_noise import DRAWS
from training.degradations.low_dose import add_mixed, own_noise, random_direction, texture_shares, unit_noise
from training.degradations.pixel_size import resample, resized

_CORRELATIONS = (kernel_correlation(RAMP), kernel_correlation(VERY_SOFT))


@dataclass(frozen=True)
class DoseRange:
    """Distribution of low doses in training patches, and of what the full dose would have been.

    Some patches are what their own scanner would have given at a fraction of the dose. The others stand for scans that
    are not there: of any noise level and any texture, from plain filtered back-projection to a very soft kernel. Their
    full dose would have had noise too, of which the low dose's is the best guess: where the degraded patch has noise of
    variance v, the target keeps as much of it as leaves a v, with what the scan itself has (`DoseLevel.kept`).

    Attributes:
        low, high: ends of the dose fraction a, uniform.
        own_share: of the patches has the level and the texture of its scan's own noise.
        low_hu, high_hu: of the others: ends of the noise level of the degraded patch in soft tissue, log-uniform.
        own_texture: of the others, the share that has the texture of its scan's own noise; the rest has any.
        electronic_share: up to this share of the variance is electronic noise (streaks along thick paths).
        clean_share: of all patches is left untouched: a full dose.
        smooth_share: of all patches is smoothed by a Gaussian, shrunk and left so: there is no noise to be taken out.
        most_shrunk: up to so many times as large pixels, log-uniform from 1, so that they are sharp in spite of it.
        resampled_share: of the other patches is resampled from another pixel size (`training.degradations.pixel_size`).
        finest, coarsest: ends of that pixel size over the scan's, log-uniform.
    """

    low: float = 0.05
    high: float = 0.35
    own_share: float = 0.4
    low_hu: float = 8.0
    high_hu: float = 95.0
    own_texture: float = 0.3
    electronic_share: float = 0.4
    clean_share: float = 0.04
    smooth_share: float = 0.08
    most_shrunk: float = 2.5
    resampled_share: float = 0.6
    finest: float = 1 / 1.5
    coarsest: float = 1.25

    @property
    def label(self) -> str:
        """For tables and manifests."""
        return (
            f"{self.low:g} to {self.high:g} of the scan's own dose, or of one that gives {self.low_hu:g} to"
            f" {self.high_hu:g} HU of noise, all kernels"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values, as written to settings.json."""
        return asdict(self)

    def __call__(self, series: PreparedSeries, window: Window, rng: np.random.Generator) -> NDArray[np.float32]:
        """The window at a level of its own; raises `UnsuitableSeries`."""
        return self.of_one_level(rng)(series, window, rng)

    def pair(
        self, series: PreparedSeries, window: Window, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The window at a level and pixel size of its own, and at the full dose of that; raises `UnsuitableSeries`."""
        level = self.of_one_level(rng)
        if not level.smooth and rng.random() >= self.resampled_share:
            return level.pair(series, window, rng)
        ends = (1.0, self.most_shrunk) if level.smooth else (self.finest, self.coarsest)
        factor = float(np.exp(rng.uniform(*np.log(ends))))
        _, rows, columns = window
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        other = resized(window, factor, (series.images.shape[1], series.images.shape[2]))
        degraded, target = (resample(image, shape) for image in level.pair(series, other, rng))
        return degraded, target

    def of_one_level(self, rng: np.random.Generator) -> DoseLevel:
        """One level of the range, whose noise is still to be drawn."""
        kind = rng.random()
        if kind < self.clean_share + self.smooth_share:
            return DoseLevel(1.0, None, None, 0.0, smooth=0.0 if kind < self.clean_share else float(rng.uniform(1, 3)))
        dose, share = float(rng.uniform(self.low, self.high)), float(rng.uniform(0, self.electronic_share))
        if rng.random() < self.own_share:
            return DoseLevel(dose, None, None, share)
        return DoseLevel(
            dose=dose,
            noise_hu=float(np.exp(rng.uniform(np.log(self.low_hu), np.log(self.high_hu)))),
            correlation=None if rng.random() < self.own_texture else float(rng.uniform(*_CORRELATIONS)),
            share=share,
        )


@dataclass(frozen=True)
class DoseLevel:
    """One level out of a `DoseRange`.

    Attributes:
        dose: the dose fraction a; 1 leaves the image as it is.
        noise_hu: of the degraded image in soft tissue; None for what the scan itself has at that fraction of its dose.
        correlation: of the noise between neighbours; None for that of the scan's own.
        share: of the variance that is electronic noise.
        smooth: standard deviation in pixels of a Gaussian that takes the scan's own noise away; 0 leaves it.
    """

    dose: float
    noise_hu: float | None
    correlation: float | None
    share: float
    smooth: float = 0.0

    def __call__(self, series: PreparedSeries, window: Window, rng: np.random.Generator) -> NDArray[np.float32]:
        """The window at this level under a fresh mix of the cached draws; raises `UnsuitableSeries`."""
        degraded, _ = self.pair(series, window, rng)
        return degraded

    def pair(
        self, series: PreparedSeries, window: Window, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The same, and the window at the full dose of this level."""
        noise = unit_noise(series)
        reference = np.asarray(series.images[window])
        if self.smooth:
            reference = ndimage.gaussian_filter(reference, self.smooth, mode="nearest")
        added = self.added(own_noise(series))
        if not added:
            return reference, reference
        shares = texture_shares(series) if self.correlation is None else kernel_shares(self.correlation)
        total = np.zeros(reference.shape, np.float32)
        for images, variance in ((noise.quantum, 1 - self.share), (noise.electronic, self.share)):
            mix = np.sqrt(np.repeat(shares, DRAWS)) * np.tile(
                random_direction(rng, added * np.sqrt(variance)), len(shares)
            )
            add_mixed(total, images, window, 0, mix)
        return reference + total, reference + np.float32(self.kept(own_noise(series))) * total

    def added(self, own: float) -> float:
        """Noise in HU that is added to a scan which has `own` itself.

        Its least is a third of that: a level that the scan has already cannot be reached by adding.
        """
        if self.noise_hu is None:
            return own * math.sqrt((1 - self.dose) / self.dose)
        return math.sqrt(max(self.noise_hu**2 - own**2, (own / 3) ** 2))

    def kept(self, own: float) -> float:
        """Share of the added noise that the full dose has too.

        Of noise of variance v = own^2 + added^2 the best guess (least squares) of the part that a scan of 1 / a times
        the dose has is a v's share a. The scan itself has own^2 of it, and the share k of the added makes it whole:
        own^2 + k added^2 = a v, and none where the scan has more than that already.
        """
        if self.noise_hu is None:
            return 0.0
        added = self.added(own)
        return max(0.0, self.dose * (own**2 + added**2) - own**2) / added**2

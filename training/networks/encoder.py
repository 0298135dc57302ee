"""The encoder whose features the perceptual loss compares by default: trained on the fit series, nothing downloaded.

    fit series --white noise--> denoising autoencoder --encoder half--> cache/features-<digest>.npz, .json
                                                                             '--> FeatureNetwork

An autoencoder without skips has to say in its few maps what an image shows, and learns from noisy inputs to leave the
noise out (Vincent et al., "Extracting and composing robust features with denoising autoencoders", ICML 2008). It sees
white noise only, whatever the runs are trained on, so all recipes and degradations of a study share one encoder. The
digest covers the images of the series and all settings below; the JSON says them, and how well it learnt.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from training.data.datasets import patches
from training.data.pairs import PreparedSeries, Window
from training.errors import UnusableFeatures
from training.networks.features import FeatureNetwork, FeatureSource, look, parse_features, read_features, unit_views
from training.networks.unet import UNIT_RANGE
from training.progress import Advance, silent

STAGE = "train the feature encoder"
"""Under which progress is told."""


@dataclass(frozen=True)
class EncoderSettings:
    """How the encoder is made; about a minute on two cores.

    Attributes:
        widths: maps of each stage; each but the first works at half the resolution of the one before.
        steps, batch, patch: so many batches of patches of so many pixels a side, less where slices are smaller.
        learning_rate: of Adam at its start; it falls along a cosine to zero.
        noise_low, noise_high: ends of the log-uniform deviation of the noise, in the network's unit: 10 to 100 HU.
        seed: of weights, patches and noise.
        version: raised when the code below changes what comes out.
    """

    widths: tuple[int, ...] = (16, 32, 64)
    steps: int = 800
    batch: int = 16
    patch: int = 64
    learning_rate: float = 2e-3
    noise_low: float = 0.01
    noise_high: float = 0.1
    seed: int = 0
    version: int = 1


def features_of(
    source: FeatureSource, series: Sequence[PreparedSeries], unit: str, cache: Path, *, progress: Advance = silent
) -> tuple[FeatureNetwork, str]:
    """The features that a run asks for, and the sha256 of the file that holds them.

    Args:
        source: an encoder of `series`, or a file.
        series, unit, cache, progress: as for `encoder_of`.

    Raises:
        UnusableFeatures: as `training.networks.features.read_features`, or the file is another than when the run began.
    """
    if source.network == "encoder":
        return encoder_of(series, unit, cache, progress=progress)
    if parse_features(source.file).sha256 != source.sha256:
        raise UnusableFeatures(f"features: {source.file} has changed since it was chosen; name it anew with --features")
    return read_features(Path(source.file), unit, source.layer), source.sha256


def encoder_of(
    series: Sequence[PreparedSeries],
    unit: str,
    cache: Path,
    *,
    settings: EncoderSettings | None = None,
    progress: Advance = silent,
) -> tuple[FeatureNetwork, str]:
    """The encoder of these series, made or found again in `cache`, and the sha256 of its file.

    Args:
        series: of the fit role, of one unit, at least one.
        unit: `HU` or `relative`.
        cache: a folder; made when missing.
        settings: default as `EncoderSettings`.
        progress: told (`STAGE`, steps done, steps in all) while it is made.

    Raises:
        UnusableFeatures: the file in the cache is damaged; delete it.
    """
    settings = settings or EncoderSettings()
    record = {"unit": unit, "settings": asdict(settings), "series": [_identity(each) for each in series]}
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:16]
    file = cache / f"features-{digest}.npz"
    if not file.exists():
        arrays, errors = train_encoder(series, unit, settings, progress)
        made_with = {name: installed_version(name) for name in ("keras", "numpy")}
        made_with |= {"backend": keras.backend.backend(), "python": platform.python_version()}
        cache.mkdir(parents=True, exist_ok=True)
        _write(file, arrays, {**record, "made with": made_with, "mean squared error": errors})
    return read_features(file, unit), hashlib.sha256(file.read_bytes()).hexdigest()


def train_encoder(
    series: Sequence[PreparedSeries], unit: str, settings: EncoderSettings, progress: Advance = silent
) -> tuple[dict[str, NDArray[np.float32]], dict[str, float]]:
    """The encoder's arrays, as `features.encoder_network` takes them, and the error at the start and the end.

    The same series, settings and machine give the same arrays; the state of Keras' own generator does not matter.
    """
    _, _, scale = UNIT_RANGE[unit]
    views = unit_views(unit)
    model = _autoencoder(settings, len(views))
    schedule = keras.optimizers.schedules.CosineDecay(settings.learning_rate, settings.steps)
    model.compile(optimizer=keras.optimizers.Adam(schedule), loss="mean_squared_error")
    rng = np.random.default_rng(settings.seed)
    size = min(settings.patch, *(side for each in series for side in each.images.shape[1:]))
    losses = []
    batches = patches(series, size=size, batch=settings.batch, steps=settings.steps, degrade=_as_it_is, rng=rng)
    for step, (_, images) in enumerate(batches, start=1):
        clean = images / scale
        deviation = np.exp(rng.uniform(np.log(settings.noise_low), np.log(settings.noise_high), (len(clean), 1, 1, 1)))
        noisy = (clean + deviation * rng.standard_normal(clean.shape)).astype(np.float32)
        losses.append(float(model.train_on_batch(np.asarray(look(noisy, views)), np.asarray(look(clean, views)))))
        progress(STAGE, step, settings.steps)
    arrays = {"views": np.array([(view.low, view.high) for view in views])}
    for stage in range(len(settings.widths)):
        kernel, bias = model.get_layer(f"stage{stage}").get_weights()
        arrays |= {f"stage{stage}/kernel": kernel, f"stage{stage}/bias": bias}
    tenth = max(1, settings.steps // 10)
    return arrays, {"start": float(np.mean(losses[:tenth])), "end": float(np.mean(losses[-tenth:]))}


def _autoencoder(settings: EncoderSettings, channels: int) -> keras.Model:
    """Stages as `features.Layer`, and their mirror image; float32, its weights from its own seed."""
    seeds = iter(range(settings.seed * 1000, settings.seed * 1000 + 1000))

    def initial() -> keras.initializers.Initializer:
        return keras.initializers.HeNormal(seed=next(seeds))

    def convolve(x: Any, width: int, name: str, activation: str | None = "relu") -> Any:
        return layers.Conv2D(
            width, 3, padding="same", activation=activation, kernel_initializer=initial(), dtype="float32", name=name
        )(x)

    image = keras.Input((None, None, channels), dtype="float32")
    x = image
    for stage, width in enumerate(settings.widths):
        if stage:
            x = layers.MaxPooling2D(2, padding="same", dtype="float32")(x)
        x = convolve(x, width, f"stage{stage}")
    for stage in reversed(range(len(settings.widths) - 1)):
        width = settings.widths[stage]
        x = layers.UpSampling2D(2, interpolation="bilinear", dtype="float32")(x)
        x = convolve(x, width, f"back{stage}")
    return keras.Model(image, convolve(x, channels, "image", activation=None))


def _as_it_is(series: PreparedSeries, window: Window, rng: np.random.Generator) -> NDArray[np.float32]:
    """A degradation that does nothing; the noise of the autoencoder is its own."""
    del rng
    return np.asarray(series.images[window])


def _identity(series: PreparedSeries) -> dict[str, str]:
    images = np.ascontiguousarray(series.images)
    return {"series": series.name, "sha256": hashlib.sha256(images.tobytes()).hexdigest()}


def _write(file: Path, arrays: dict[str, NDArray[np.float32]], record: dict[str, Any]) -> None:
    """Both aside, then renamed, the weights last: where they are, all is there."""
    aside = file.with_name(f".{file.stem}-{np.random.SeedSequence().entropy:x}.npz")
    description = aside.with_suffix(".json")
    description.write_text(json.dumps(record, indent=1) + "\n")
    description.replace(file.with_suffix(".json"))
    np.savez(aside, allow_pickle=False, **arrays)
    aside.replace(file)

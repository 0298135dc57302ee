"""Feature networks for the perceptual loss: frozen convolutions, read from a file.

    encoder, made by `training.networks.encoder` --+
    VGG16 under Keras' layer names     ---+--read_features--> FeatureNetwork: image -> maps at one or more depths
                                          '-- UnusableFeatures: no such file, a layer missing, a wrong shape

Distances between features have no unit, and those of two networks differ by powers of ten. So each map is scaled until
white noise of 1 % of the network's unit, on phantoms, costs as much as it does under L2. A weight of 0.1 then means the
same whatever the network: for white noise, a tenth of L2. keras.ops only: TensorFlow and JAX alike.

VGG16: Simonyan, Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from keras import ops
from numpy.typing import NDArray

from imaging.metrics import SOFT_TISSUE
from imaging.phantom import trunk
from training.errors import UnusableFeatures
from training.networks.unet import UNIT_RANGE

Array = NDArray[np.float32]

CALIBRATION_NOISE = 0.01
"""In the network's unit: 10 HU, about the error that remains after restoring a quarter dose, or 1 % of a gray scale."""

VGG_LAYERS = tuple(
    f"block{block}_conv{conv}" for block, conv in ((1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2), (3, 3))
)
VGG_WIDTHS = {"block1": 64, "block2": 128, "block3": 256}
VGG_LAYER = "block2_conv2"
"""Johnson et al. take it (relu2_2) for super-resolution; deeper ones see less texture and cost more."""

_VGG_MEANS = (103.939, 116.779, 123.68)  # blue, green, red, of the photographs that it was trained on
_VGG_SCALE = 255.0


@dataclass(frozen=True)
class View:
    """One input channel: (clip(image, low, high) - low) / (high - low) * scale - shift, in the network's unit."""

    low: float
    high: float
    scale: float = 1.0
    shift: float = 0.0


def look(image: Any, views: Sequence[View]) -> Any:
    """(N, H, W, 1) in the network's unit -> (N, H, W, V) float32, one channel for each view."""
    image = ops.cast(image, "float32")
    seen = [(ops.clip(image, v.low, v.high) - v.low) * (v.scale / (v.high - v.low)) - v.shift for v in views]
    return ops.concatenate(seen, axis=-1)


@dataclass(frozen=True, eq=False)
class Layer:
    """A 3 x 3 convolution with ReLU, zero-padded.

    Attributes:
        kernel, bias: (3, 3, in, out) and (out,) float32.
        pool: the input is halved by 2 x 2 maxima first. No convolution strides: that would weigh pixels unequally, and
            a restorer would learn the pattern.
        gain: of the map that is given out; 0 gives none out.
    """

    kernel: Array
    bias: Array
    pool: bool = False
    gain: float = 0.0


@dataclass(frozen=True, eq=False)
class FeatureNetwork:
    """Image (N, H, W, 1) in the network's unit -> the maps that its layers give out, (N, h, w, C) float32 each.

    Any size from 1 x 1. Weights are constants: nothing of it is ever trained.
    """

    views: tuple[View, ...]
    layers: tuple[Layer, ...]

    def __call__(self, image: Any) -> list[Any]:
        x = look(image, self.views)
        maps = []
        for layer in self.layers:
            if layer.pool:
                x = ops.max_pool(x, 2, strides=2, padding="same", data_format="channels_last")
            x = ops.conv(x, layer.kernel, padding="same", data_format="channels_last")
            x = ops.relu(x + layer.bias)
            if layer.gain:
                maps.append(layer.gain * x)
        return maps


@dataclass(frozen=True)
class FeatureSource:
    """Which features a run compares by; part of its settings.

    Attributes:
        network: `encoder` is trained on the run's own fit series (`training.networks.encoder`); `file` is read from
            `file`.
        file, sha256, layer: of `file`: the path as given, what it hashes to, and for VGG16 the layer.
    """

    network: Literal["encoder", "file"] = "encoder"
    file: str = ""
    sha256: str = ""
    layer: str = ""


def parse_features(text: str) -> FeatureSource:
    """`encoder`, `FILE.npz` or `FILE.npz:LAYER` -> which features; the file is hashed, not yet read.

    Raises:
        UnusableFeatures: there is no such file.
    """
    if text == "encoder":
        return FeatureSource()
    file, colon, layer = text.rpartition(":")
    if not colon or layer not in VGG_LAYERS:  # a colon of the path itself
        file, layer = text, ""
    if not Path(file).is_file():
        raise UnusableFeatures(
            f"features: {file!r} is no file; give `encoder`, or the path of an .npz of VGG16 weights,"
            f" with a layer if it is not to be {VGG_LAYER}: FILE.npz:{VGG_LAYERS[-1]}"
        )
    return FeatureSource("file", file, hashlib.sha256(Path(file).read_bytes()).hexdigest(), layer)


def read_features(file: Path, unit: str, layer: str = "") -> FeatureNetwork:
    """The network in a file: VGG16 up to `layer`, whose map it gives out, or an encoder, which gives all its maps.

    Args:
        file: .npz with `<layer>/kernel` (3, 3, in, out) and `<layer>/bias`, in float32: VGG16 under Keras' layer
            names, for BGR of 0..255 less the means; or what `training.networks.encoder` writes.
        unit: `HU` (VGG16 sees the soft-tissue window as 0..255, values outside clipped) or `relative` (0..1).
        layer: of VGG16, one of `VGG_LAYERS`; the default is `VGG_LAYER`.

    Raises:
        UnusableFeatures: no such file, not such an .npz, a layer missing or of another shape.
    """
    arrays = _arrays(file)
    if "views" in arrays:
        if layer:
            raise UnusableFeatures(f"{file} is an encoder, all of whose stages count; leave out the layer {layer!r}")
        return encoder_network(arrays, unit, str(file))
    layer = layer or VGG_LAYER
    if layer not in VGG_LAYERS:
        raise UnusableFeatures(f"no layer {layer!r} to take features of; there is: {', '.join(VGG_LAYERS)}")
    return _vgg(arrays, unit, layer, str(file))


def encoder_network(arrays: Mapping[str, Array], unit: str, name: str) -> FeatureNetwork:
    """The encoder of these arrays (`views` (V, 2), `stage<i>/kernel`, `stage<i>/bias`), calibrated.

    Raises:
        UnusableFeatures: it was trained on images of another unit, or arrays are missing or of wrong shapes.
    """
    views = tuple(View(float(low), float(high)) for low, high in arrays["views"])
    if views != unit_views(unit):
        raise UnusableFeatures(f"{name} is an encoder of another unit than {unit}; leave it to be trained anew")
    count = sum(key.startswith("stage") and key.endswith("/kernel") for key in arrays)
    channels, layers = len(views), []
    for stage in range(max(count, 1)):
        kernel, bias = _layer(arrays, f"stage{stage}", channels, None, name)
        layers.append(Layer(kernel, bias, pool=stage > 0, gain=1.0))
        channels = kernel.shape[-1]
    return _calibrated(FeatureNetwork(views, tuple(layers)), unit)


def unit_views(unit: str) -> tuple[View, ...]:
    """What an encoder sees: the whole range, and for CT beside it the soft-tissue window, whose contrasts are small."""
    low, high, scale = UNIT_RANGE[unit]
    whole = View(low / scale, high / scale)
    return (whole, _window(unit)) if unit == "HU" else (whole,)


def _window(unit: str) -> View:
    low, high, scale = UNIT_RANGE[unit]
    if unit == "HU":
        low, high = SOFT_TISSUE.low, SOFT_TISSUE.high
    return View(low / scale, high / scale)


def _vgg(arrays: Mapping[str, Array], unit: str, last: str, name: str) -> FeatureNetwork:
    # the file may hold RGB weights as well, but then its pictures look odd to it: nothing in it tells the order
    views = tuple(replace(_window(unit), scale=_VGG_SCALE, shift=mean) for mean in _VGG_MEANS)
    channels = len(views)
    layers: list[Layer] = []
    for layer in VGG_LAYERS[: VGG_LAYERS.index(last) + 1]:
        kernel, bias = _layer(arrays, layer, channels, VGG_WIDTHS[layer.partition("_")[0]], name)
        starts_block = layer.endswith("conv1") and bool(layers)
        layers.append(Layer(kernel, bias, pool=starts_block, gain=float(layer == last)))
        channels = kernel.shape[-1]
    return _calibrated(FeatureNetwork(views, tuple(layers)), unit)


def _arrays(file: Path) -> dict[str, Array]:
    try:
        with zipfile.ZipFile(file):  # a lone .npy would load too, as an array
            archive = np.load(file, allow_pickle=False)
        return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise UnusableFeatures(f"features: there is no file {file}") from None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UnusableFeatures(f"features: {file} is no .npz of arrays; give VGG16 weights or an encoder") from error


def _layer(arrays: Mapping[str, Array], layer: str, channels: int, width: int | None, name: str) -> tuple[Array, Array]:
    missing = [key for key in (f"{layer}/kernel", f"{layer}/bias") if key not in arrays]
    if missing:
        raise UnusableFeatures(
            f"features: {name} has no array {missing[0]!r}; it holds: {', '.join(sorted(arrays)[:6])} ..."
            f" VGG16 weights must carry Keras' layer names, as in {VGG_LAYER}/kernel"
        )
    kernel, bias = arrays[f"{layer}/kernel"], arrays[f"{layer}/bias"]
    out = width if width is not None else kernel.shape[-1]
    if kernel.shape != (3, 3, channels, out) or bias.shape != (out,):
        raise UnusableFeatures(
            f"features: {layer} of {name} has a kernel {kernel.shape} and a bias {bias.shape}; expected"
            f" {(3, 3, channels, out)} (height, width, in, out) and {(out,)}"
        )
    if not all(np.isfinite(array).all() for array in (kernel, bias)):
        raise UnusableFeatures(f"features: {layer} of {name} holds values that are not finite")
    return kernel.astype(np.float32), bias.astype(np.float32)


def _calibrated(network: FeatureNetwork, unit: str) -> FeatureNetwork:
    """The same network with gains under which white noise costs in each map what it costs under L2."""
    clean, noisy = _calibration_images(unit)
    pairs = zip(network(clean), network(noisy), strict=True)
    power = [float(np.mean(np.square(np.asarray(b) - np.asarray(a)))) for a, b in pairs]
    target = float(np.mean(np.square(noisy - clean)))
    gains: Sequence[float] = [float(np.sqrt(target / each)) if each > 0 else 0.0 for each in power]
    if not any(gains):
        raise UnusableFeatures("features: the network gives the same maps with and without noise; its weights are dead")
    rest = iter(gains)
    return replace(network, layers=tuple(replace(x, gain=next(rest)) if x.gain else x for x in network.layers))


@lru_cache
def _calibration_images(unit: str) -> tuple[Array, Array]:
    """Four phantom slices, (4, 96, 96, 1), clean and with white noise; for relative images as the window shows them."""
    low, high, scale = UNIT_RANGE["HU"]
    del low, high
    slices = [trunk((96, 96), (3.0, 3.0), np.random.default_rng(seed)) / scale for seed in range(4)]
    clean = np.stack(slices)[..., None].astype(np.float32)
    if unit != "HU":
        window = _window("HU")
        clean = np.clip((clean - window.low) / (window.high - window.low), 0, 1)
    noise = np.random.default_rng(0).normal(0, CALIBRATION_NOISE, clean.shape)
    return clean, (clean + noise).astype(np.float32)

"""Start: the weights that a run begins with, when they are not random: of another run, or of a published version.

    ct-l2@stable | STORE/NAME/3 | RUN --find_start--> Start (whose, sha256), the shape of the network
                                         UnusableStart
    Start, run --start_weights--> layer's path -> weights; kept in RUN/start.npz, so that a run needs nobody else again
    run --seen_series--> what it and those it started from were fitted on: no score on these patients means anything

A recipe that starts from a trained model learns what is its own in a tenth of the steps. Weights go by the paths of
their layers: a network with a second head (`training.networks.unet`) starts that head as a fresh one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
from numpy.typing import NDArray

from model_store.errors import ModelStoreError
from model_store.store import ModelStore
from model_store.version import MANIFEST_FILE, VARIABLES, ModelVersion, read_version
from training.domains import DOMAINS, Domain
from training.errors import UnusableStart
from training.networks.unet import UNetConfig, build_unet
from training.recipes import parse_model_name
from training.run_files import write_json

START, START_DATA = "start.npz", "start.json"
"""In the run's folder: the weights, and the series that they were fitted on."""

DATA = "data.json"
"""In the run's folder: the series that it was fitted on."""

Weights: TypeAlias = dict[str, NDArray[np.float32]]
"""Path of a variable, such as `down0/kernel` -> its values."""

_CHECKPOINT, _SETTINGS, _HISTORY = "checkpoint.weights.h5", "settings.json", "history.json"


@dataclass(frozen=True)
class Start:
    """Which weights.

    Attributes:
        of: for people: a model ref, or the folder of a run or version as it was given.
        sha256: of the weights.
        trained: in words, how they were; empty where that is not known.
    """

    of: str
    sha256: str
    trained: str = ""


def find_start(of: str, domain: Domain) -> tuple[Start, UNetConfig]:
    """Where a run of `domain` is to begin, and the network that it must then have.

    Args:
        of: a folder of a run, or of a version (`STORE/NAME/3`), or a ref of a model that ships, as `ct-l2@stable`.
        domain: of the run to come.

    Raises:
        UnusableStart: there is no such model or run, it is unfinished, or it is of another domain.
    """
    found = _read(of, domain)
    return Start(of, _digest(found.weights), found.trained), found.network


def start_weights(start: Start, domain: Domain, run: Path) -> Weights:
    """The weights, from the run's own file if it has one; otherwise that is written.

    Raises:
        UnusableStart: as `find_start`, or they are not those that `start` names.
    """
    file = run / START
    if file.exists():
        with np.load(file) as stored:
            weights = {path: stored[path] for path in stored.files}
        return _checked(weights, start, str(file))
    found = _read(start.of, domain)
    weights = _checked(found.weights, start, start.of)
    write_json(run / START_DATA, found.series)
    aside = file.with_name(f"aside-{START}")
    np.savez(aside, allow_pickle=False, **weights)
    aside.replace(file)
    return weights


def seen_series(run: Path) -> list[dict[str, Any]]:
    """`series`, `patient` and `slices` of all that the weights of a run have been fitted on, each once."""
    files = [file for name in (DATA, START_DATA) if (file := run / name).is_file()]
    listed = [each for file in files for each in json.loads(file.read_text())]
    return list({(each["series"], each["patient"]): each for each in listed}.values())


def begin_with(model: keras.Model, weights: Mapping[str, NDArray[np.float32]]) -> None:
    """Gives a model of `build_unet` the weights; layers of a second head that `weights` lack stay as they are.

    Raises:
        UnusableStart: a layer has another shape, or the restoring part lacks one.
    """
    for variable in model.variables:
        found = weights.get(variable.path)
        if found is None and variable.path.startswith("spread/"):
            continue
        if found is None or found.shape != tuple(variable.shape):
            raise UnusableStart(
                f"the weights to start from have no {variable.path} of shape {tuple(variable.shape)}: the network is"
                " another; leave out [network], which then follows from --start"
            )
        variable.assign(found)


@dataclass(frozen=True, eq=False)
class _Found:
    weights: Weights
    network: UNetConfig
    series: list[dict[str, Any]]
    trained: str


def _read(of: str, domain: Domain) -> _Found:
    folder = Path(of)
    if (folder / _SETTINGS).is_file():
        if not (folder / _CHECKPOINT).is_file():
            raise UnusableStart(f"{of} is a run without a finished epoch; let `clearslice train` finish one")
        plain = json.loads((folder / _SETTINGS).read_text())
        done = len(json.loads((folder / _HISTORY).read_text()))
        if done < plain["epochs"]:
            raise UnusableStart(
                f"{of} has finished {done} of {plain['epochs']} epochs; let `clearslice train` finish it first"
            )
        weights, network = _of_model(of, domain, plain, lambda model: model.load_weights(folder / _CHECKPOINT))
        return _Found(weights, network, seen_series(folder), _trained(plain))
    try:
        version = read_version(folder) if (folder / MANIFEST_FILE).is_file() else ModelStore().resolve(of)
    except ModelStoreError as error:
        raise UnusableStart(f"nothing to start from: {of} is no folder of a run or version, and {error}") from error
    plain, data = version.manifest.training_settings, version.manifest.training_data
    weights, network = _of_model(of, domain, plain, lambda model: _load_version(model, version))
    series = [each.model_dump(include={"series", "patient", "slices"}) for each in data]
    return _Found(weights, network, series, _trained(plain))


def _trained(plain: Mapping[str, Any]) -> str:
    """In words, of a run's settings; what that run began with comes after."""
    own = f"{plain['epochs'] * plain['steps']} steps of {plain['batch']} patches of {plain['patch']} pixels"
    before = plain.get("start", {}).get("trained", "")
    return f"{plain['model']} for {own}" + (f", after {before}" if before else "")


def _of_model(
    of: str, domain: Domain, plain: Mapping[str, Any], load: Callable[[keras.Model], None]
) -> tuple[Weights, UNetConfig]:
    theirs, recipe = parse_model_name(plain["model"])
    if theirs != domain:
        raise UnusableStart(f"{of} is a model of {theirs} images, and a run on {domain} images cannot start from it")
    network = UNetConfig.from_json(plain["network"])
    model = build_unet(network, DOMAINS[domain], outputs=recipe.outputs)
    load(model)
    return {each.path: np.asarray(keras.ops.convert_to_numpy(each), np.float32) for each in model.variables}, network


def _load_version(model: keras.Model, version: ModelVersion) -> None:
    """The variables of a SavedModel, in the order in which `training.export` wrote them."""
    try:
        import tensorflow as tf  # noqa: PLC0415 - heavy, and only SavedModels need it
    except ImportError as error:
        raise UnusableStart("to start from a published version TensorFlow is needed; start from a run") from error
    reader = tf.train.load_checkpoint(str(version.path / VARIABLES / "variables"))
    model.set_weights(
        [reader.get_tensor(f"weights/{index}/.ATTRIBUTES/VARIABLE_VALUE") for index in range(len(model.variables))]
    )


def _checked(weights: Weights, start: Start, origin: str) -> Weights:
    if _digest(weights) != start.sha256:
        raise UnusableStart(f"{origin} holds other weights than those that the run was asked to start from")
    return weights


def _digest(weights: Mapping[str, NDArray[np.float32]]) -> str:
    """Over the paths, shapes and values, in the order of the paths."""
    digest = hashlib.sha256()
    for path in sorted(weights):
        digest.update(f"{path} {weights[path].shape}\n".encode())
        digest.update(np.ascontiguousarray(weights[path], "<f4").tobytes())
    return digest.hexdigest()

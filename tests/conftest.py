"""Shared fixtures: tiny real models, made once a session, and series of phantoms.

    tiny_export(kind) -> staged folder + ManifestDraft      tiny_store(kind) -> a fresh ModelStore that holds it
    tiny_draft(kind, field=...) -> another draft for it     tiny_answer(kind, batch) -> what it must answer, by numpy
    write_dicom(folder, patient=..., seed=...) -> a folder of DICOM files, one series
    enhanced.enhanced_ct(stored, ...) -> a multi-frame data set; see `enhanced_ct.py` beside this file

The functions behind the fixtures are module-level, so that their signatures and docstrings can be read in one place.
"""

from __future__ import annotations

import datetime as dt
import logging
import runpy
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import hypothesis
import numpy as np
import pytest
import structlog
from numpy.typing import NDArray

from imaging.phantom import trunk
from imaging.phantom_dicom import PhantomSeries, series_files
from model_store.manifest import Golden, ManifestDraft, Provenance, Signature
from model_store.publishing import Verifier
from model_store.restorer import import_tensorflow
from model_store.store import ModelStore
from model_store.verify import verify_in_fresh_process

# A busy machine takes longer for an example than Hypothesis allows (0.2 s), which is no defect.
hypothesis.settings.register_profile("clearslice", hypothesis.settings.default, deadline=None)
hypothesis.settings.load_profile("clearslice")

Kind = Literal["identity", "smooth", "offset"]
Unit = Literal["HU", "relative"]

OFFSET = 7.0
"""What kind `offset` adds to every pixel; exact in bfloat16."""

PHANTOM_SIDE, PHANTOM_SPACING, PHANTOM_NOISE_HU = 96, (3.0, 3.0), 3.0
"""A trunk but for its flanks in few pixels; organs are wide enough to have a noise level."""

CARD = "# A tiny model for tests\n\nIt restores nothing.\n"


@dataclass(frozen=True)
class TinyExport:
    """What an exporter hands to `ModelStore.publish`: a folder (do not change it, copy it) and a draft."""

    path: Path
    draft: ManifestDraft


class TinyStore(Protocol):
    """Makes a new writable store on each call, nothing below it, that holds one version `<name>@1`.

    The name defaults to `tiny-<kind>`; the version has label `stable` and is the store's default.
    """

    def __call__(self, kind: Kind = "smooth", *, name: str | None = None, unit: Unit = "HU") -> ModelStore: ...


def answer_by_numpy(kind: Kind, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a tiny model of this kind answers, by numpy alone; (N, H, W, 1) float32 in and out."""
    if kind == "identity":
        return batch.copy()
    if kind == "offset":
        return np.add(batch, OFFSET, dtype=np.float32)
    height, width = batch.shape[1:3]
    padded = np.pad(batch.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    shifted = [padded[:, row : row + height, column : column + width] for row in range(3) for column in range(3)]
    return np.asarray(np.mean(shifted, axis=0), np.float32)


def make_draft(kind: Kind = "smooth", *, name: str | None = None, unit: Unit = "HU", **changes: Any) -> ManifestDraft:
    """The draft that belongs to a tiny model; `changes` are fields of ManifestDraft."""
    fields: dict[str, Any] = {
        "name": name or f"tiny-{kind}",
        "domain": "ct" if unit == "HU" else "relative",
        "unit": unit,
        "recipe": "none",
        "summary": f"A tiny model of kind {kind}, for tests.",
        "intended_use": "Tests only.",
        "signatures": {
            "serving_default": Signature(),
            "bfloat16": Signature(compute_dtype="bfloat16"),
        },
        "size_multiple": 1,
        "receptive_field": 3 if kind == "smooth" else 1,
        "parameters": {"identity": 0, "smooth": 9, "offset": 1}[kind],
        "golden": Golden(max_abs=0.5, reduced_rms=1.0, reduced_p999=5.0, reduced_mean=0.1),
        "provenance": Provenance(
            created=dt.datetime(2025, 1, 1, tzinfo=dt.UTC),
            clearslice="0.1.0",
            source_revision="0" * 40,
            framework={"tensorflow": "2"},
            device="CPU:0",
            seed=1,
        ),
    }
    return ManifestDraft(**{**fields, **changes})


def golden_image() -> NDArray[np.float32]:
    """(1, 37, 41, 1) in HU: water with texture, a bone-like disc, a metal pixel and an air border."""
    rows, columns = np.mgrid[0:37, 0:41]
    image = np.random.default_rng(1).normal(40.0, 20.0, (37, 41))
    image[(rows - 20) ** 2 + (columns - 12) ** 2 < 30] += 700.0
    image[8, 30] = 3000.0
    image[(rows < 2) | (columns > 38)] = -1000.0
    return image.astype(np.float32)[None, :, :, None]


def save_tiny_model(path: Path, kind: Kind) -> None:
    """Writes a SavedModel with both signatures, its golden sample and its card to `path`."""
    tf = import_tensorflow()

    base: Any = tf.Module

    class Tiny(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.weights = tf.Variable({"identity": [0.0], "smooth": [1 / 9] * 9, "offset": [OFFSET]}[kind])

        def restore(self, image: Any, dtype: Any) -> Any:
            """The change is computed in `dtype`, the sum in float32, as the real networks do."""
            if kind == "identity":
                return tf.identity(image)
            weights = tf.cast(self.weights, dtype)
            if kind == "offset":
                return image + tf.cast(weights, tf.float32)
            padded = tf.pad(image, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")
            neighbours = tf.image.extract_patches(padded, [1, 3, 3, 1], [1, 1, 1, 1], [1, 1, 1, 1], "VALID")
            change = tf.reduce_sum(tf.cast(neighbours - image, dtype) * weights, axis=-1, keepdims=True)
            return image + tf.cast(change, tf.float32)

        def signature(self, dtype: Any) -> Any:
            @tf.function(input_signature=[tf.TensorSpec([None, None, None, 1], tf.float32, name="image")])  # type: ignore[untyped-decorator]
            def restore(image: Any) -> dict[str, Any]:
                return {"restored": tf.ensure_shape(self.restore(image, dtype), [None, None, None, 1])}

            return restore

    model = Tiny()
    signatures = {"serving_default": model.signature(tf.float32), "bfloat16": model.signature(tf.bfloat16)}
    tf.saved_model.save(model, str(path), signatures=signatures)
    image = golden_image()
    np.savez(path / "golden.npz", image=image, restored=answer_by_numpy(kind, image))
    (path / "README.md").write_text(CARD, encoding="utf-8")


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """What a command of ours does to the logging of its process ends with the test: the next may be anyone's."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def tiny_export(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Kind], TinyExport]:
    """kind -> TinyExport; the SavedModel of each kind is made once a session."""
    made: dict[Kind, TinyExport] = {}

    def export(kind: Kind = "smooth") -> TinyExport:
        if kind not in made:
            path = tmp_path_factory.mktemp(f"export-{kind}")
            save_tiny_model(path, kind)
            made[kind] = TinyExport(path, make_draft(kind))
        return made[kind]

    return export


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory: pytest.TempPathFactory, tiny_export: Callable[[Kind], TinyExport]) -> TinyStore:
    """A factory of stores; see `TinyStore`. The first of each kind is verified in a fresh process."""
    verified: set[Kind] = set()

    def make(kind: Kind = "smooth", *, name: str | None = None, unit: Unit = "HU") -> ModelStore:
        draft = make_draft(kind, name=name, unit=unit)
        store = ModelStore(tmp_path_factory.mktemp("store"), published=None)
        verifier: Verifier = accept if kind in verified else verify_in_fresh_process
        version = store.publish(tiny_export(kind).path, draft, verifier=verifier)
        verified.add(kind)
        store.promote(version.name, "stable", version.version)
        store.set_default(f"{version.name}@stable")
        return store

    return make


@pytest.fixture(scope="session")
def tiny_draft() -> Callable[..., ManifestDraft]:
    """`make_draft`, for tests in other modules."""
    return make_draft


@pytest.fixture(scope="session")
def tiny_answer() -> Callable[[Kind, NDArray[np.float32]], NDArray[np.float32]]:
    """`answer_by_numpy`, for tests in other modules."""
    return answer_by_numpy


def accept(path: Path) -> None:
    """A verifier for versions whose verification is not the point of the test: it only looks for the folder."""
    assert path.is_dir()


def write_phantom_series(folder: Path, *, patient: str, seed: int, slices: int = 2) -> None:
    """A folder of DICOM files: noisy phantom slices 5 mm apart, whole HU; another seed is another study."""
    series = PhantomSeries(
        patient=patient,
        study=f"seed {seed}",
        description="Phantom",
        number=1,
        spacing=PHANTOM_SPACING,
        thickness=5.0,
    )
    side = (PHANTOM_SIDE, PHANTOM_SIDE)
    planes = [trunk(side, PHANTOM_SPACING, np.random.default_rng(seed), z=5.0 * index) for index in range(slices)]
    noise = np.random.default_rng(seed).normal(0, PHANTOM_NOISE_HU, (slices, *side))
    folder.mkdir(parents=True)
    for number, data in enumerate(series_files(np.stack(planes) + noise, series)):
        (folder / f"{number}.dcm").write_bytes(data)


@pytest.fixture(scope="session")
def write_dicom() -> Callable[..., None]:
    """`write_phantom_series`, for tests in other modules."""
    return write_phantom_series


@pytest.fixture(scope="session")
def enhanced() -> types.SimpleNamespace:
    """The functions of `enhanced_ct.py`, for tests in other modules."""
    return types.SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("enhanced_ct.py"))))

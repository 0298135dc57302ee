"""A store without TensorFlow: version folders whose graph is only bytes, published with a verifier that accepts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from model_store.manifest import ManifestDraft
from model_store.store import ModelStore, ModelVersion

Publish = Callable[..., ModelVersion]


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    """What an exporter leaves, with bytes where TensorFlow's files would be."""
    folder = tmp_path / "staged"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.index").write_bytes(b"index")
    (folder / "variables" / "variables.data-00000-of-00001").write_bytes(b"weights")
    (folder / "README.md").write_text("# Card\n", encoding="utf-8")
    image = np.arange(15, dtype=np.float32).reshape(1, 3, 5, 1)
    np.savez(folder / "golden.npz", image=image, restored=image + 1)
    return folder


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """An empty writable store over nothing."""
    return ModelStore(tmp_path / "store", published=None)


@pytest.fixture
def publish(staged: Path, tiny_draft: Callable[..., ManifestDraft]) -> Publish:
    """publish(store, name) -> ModelVersion, without the fresh process."""

    def make(store: ModelStore, name: str = "ct-l2") -> ModelVersion:
        return store.publish(staged, tiny_draft(name=name), verifier=lambda _: None)

    return make


@pytest.fixture
def version(store: ModelStore, publish: Publish) -> ModelVersion:
    """`ct-l2@1` in `store`."""
    return publish(store)

"""A model that costs nothing: it adds 1. What is measured around it is the server.

publish(folder) --> a store whose default is `adds-one@1`
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np

from model_store.manifest import Golden, ManifestDraft, Provenance, Signature
from model_store.restorer import import_tensorflow
from model_store.store import ModelStore

NAME = "adds-one"


def publish(folder: Path) -> ModelStore:
    """Makes the store, of that one version, in an empty folder."""
    staged = folder / "staged"
    _save(staged)
    image = np.random.default_rng(0).normal(0, 300, (1, 37, 41, 1)).astype(np.float32)
    np.savez(staged / "golden.npz", image=image, restored=image + np.float32(1))
    (staged / "README.md").write_text("# adds-one\n\nFor measurements.\n", encoding="utf-8")
    store = ModelStore(folder / "store", published=None)
    store.publish(
        staged,
        ManifestDraft(
            name=NAME,
            domain="ct",
            unit="HU",
            recipe="none",
            summary="Adds 1.",
            intended_use="Measurements.",
            signatures={"serving_default": Signature()},
            size_multiple=1,
            receptive_field=1,
            parameters=0,
            golden=Golden(max_abs=0.5, reduced_rms=1.0, reduced_p999=5.0, reduced_mean=0.1),
            provenance=Provenance(
                created=dt.datetime.now(dt.UTC).replace(microsecond=0),
                clearslice="0.1.0",
                source_revision="0" * 40,
                framework={},
                device="CPU:0",
                seed=0,
            ),
        ),
    )
    store.set_default(NAME)
    return store


def _save(folder: Path) -> None:
    tf = import_tensorflow()

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 1], tf.float32, name="image")])  # type: ignore[untyped-decorator]
    def restore(image: Any) -> dict[str, Any]:
        return {"restored": image + 1}

    tf.saved_model.save(tf.Module(), str(folder), signatures={"serving_default": restore})

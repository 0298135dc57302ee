"""A trained network -> the files of a SavedModel: every signature over one set of variables.

    Keras model --serving_default, bfloat16, with_uncertainty--> tf.Module --save--> saved_model.pb, variables/

Keras' own `export` writes every variable twice when there are two signatures; a `tf.Module` that holds the variables
writes them once. The bfloat16 signature calls a twin network on the float32 weights, so both can never drift apart. A
network that says how sure it is has a third signature, `with_uncertainty`; the other two leave its second head out.
TensorFlow is imported inside the functions that need it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import keras

from model_store.manifest import BFLOAT16, FLOAT32, UNCERTAINTY, IntervalCalibration
from training.calibration.intervals import calibrated
from training.domains import DOMAINS
from training.fit import FitSettings
from training.networks.unet import build_unet, restored_only
from training.recipes import parse_model_name


def write_saved_model(
    model: keras.Model,
    settings: FitSettings,
    folder: Path,
    *,
    intervals: IntervalCalibration | None = None,
    reduced: bool = True,
) -> None:
    """Writes the signatures over one set of variables.

    `serving_default` (float32) and, if it is `reduced`, `bfloat16` are `image` -> `restored`. `with_uncertainty`
    (float32) is there when the recipe has several outputs and gives each by its name; its `restored` is that of
    `serving_default`, bit for bit on one processor, because it is computed by the same layers. Its interval is what
    `intervals` make of it.
    """
    import tensorflow as tf  # noqa: PLC0415 - heavy; see the module

    domain, recipe = parse_model_name(settings.model)
    full = build_unet(settings.network, DOMAINS[domain], outputs=recipe.outputs, dtype="float32")
    full.set_weights(model.get_weights())
    restored = restored_only(full)
    # its float32 variables are thrown away: the calls below hand it the full model's
    twin = build_unet(settings.network, DOMAINS[domain], dtype="mixed_bfloat16")
    image_spec = tf.TensorSpec((None, None, None, 1), tf.float32, "image")

    class Exported(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.weights = [variable.value for variable in full.variables]

        @tf.function(input_signature=[image_spec])  # type: ignore[untyped-decorator]
        def float32(self, image: Any) -> dict[str, Any]:
            return {"restored": restored(image, training=False)}

    # no methods: TensorFlow saves those of the module whether they are signatures or not
    @tf.function(input_signature=[image_spec])  # type: ignore[untyped-decorator]
    def bfloat16(image: Any) -> dict[str, Any]:
        answer, _ = twin.stateless_call(
            [variable.value for variable in restored.trainable_variables],
            [variable.value for variable in restored.non_trainable_variables],
            image,
            training=False,
        )
        return {"restored": answer}

    @tf.function(input_signature=[image_spec])  # type: ignore[untyped-decorator]
    def with_uncertainty(image: Any) -> dict[str, Any]:
        answer = full(image, training=False)
        if intervals is not None:
            answer = calibrated(answer, intervals)
        return {name: answer[..., channel : channel + 1] for channel, name in enumerate(recipe.outputs)}

    module = Exported()
    signatures = {FLOAT32: module.float32}
    if reduced:
        signatures[BFLOAT16] = bfloat16
    if len(recipe.outputs) > 1:
        signatures[UNCERTAINTY] = with_uncertainty
    options = tf.saved_model.SaveOptions(save_debug_info=False)
    tf.saved_model.save(module, str(folder), signatures=signatures, options=options)
    _lighten(folder / "saved_model.pb")
    for empty in ("assets", "fingerprint.pb"):  # neither is read by anyone; the manifest has the hashes
        path = folder / empty
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _lighten(graph: Path) -> None:
    """Takes the shapes that TensorFlow noted at nodes and arguments out of a graph: a sixth of it, used by no one."""
    from tensorflow.core.protobuf import saved_model_pb2  # noqa: PLC0415 - heavy; see the module

    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString(graph.read_bytes())
    for meta in saved.meta_graphs:
        for function in meta.graph_def.library.function:
            for argument in function.arg_attr.values():
                argument.attr.pop("_output_shapes", None)
            for node in function.node_def:
                node.attr.pop("_output_shapes", None)
    graph.write_bytes(saved.SerializeToString(deterministic=True))

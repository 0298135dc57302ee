"""Signatures: what the callables of a SavedModel take and give, held against the manifest.

    SavedModel.signatures --check_signatures--> fine, or RefusedVersion naming the signature and the tensor

This module imports no TensorFlow: it only looks at what `tf.saved_model.load` gave.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model_store.errors import RefusedVersion
from model_store.manifest import BFLOAT16, FLOAT32, UNCERTAIN_OUTPUTS, UNCERTAINTY, Manifest, Signature


def check_signatures(found: Mapping[str, Any], manifest: Manifest) -> None:
    """Checks the loaded model's signatures.

    Args:
        found: name -> function of the SavedModel, with `structured_input_signature` and `structured_outputs`.
        manifest: what they should be.

    Raises:
        RefusedVersion: names, dtypes or shapes are not as the manifest says, or a known signature takes or gives
            something else than every version's does.
    """
    ref, signatures = f"{manifest.name}@{manifest.version}", manifest.signatures
    if set(found) != set(signatures):
        raise RefusedVersion(f"{ref} has the signatures {sorted(found)}, its manifest says {sorted(signatures)}")
    for name, signature in signatures.items():
        _check_signature(found[name], signature, f"{ref}: signature {name!r}")
    for name in (FLOAT32, BFLOAT16):
        if name in signatures and (signatures[name].inputs, signatures[name].outputs) != (("image",), ("restored",)):
            raise RefusedVersion(f"{ref}: signature {name!r} must take 'image' and give 'restored' and no more")
    uncertain = signatures.get(UNCERTAINTY)
    if uncertain and (uncertain.inputs != ("image",) or uncertain.outputs not in UNCERTAIN_OUTPUTS):
        raise RefusedVersion(
            f"{ref}: signature {UNCERTAINTY!r} must take 'image' and give 'restored' with 'sigma' or with 'lower' and"
            " 'upper', in this order"
        )


def _check_signature(function: Any, signature: Signature, what: str) -> None:
    """Raises RefusedVersion unless names, dtypes and ranks are as the manifest and its `Signature` say."""
    for kind, expected, specs in (
        ("inputs", signature.inputs, function.structured_input_signature[1]),
        ("outputs", signature.outputs, function.structured_outputs),
    ):
        if set(specs) != set(expected):
            raise RefusedVersion(f"{what} has {kind} {sorted(specs)}, its manifest says {sorted(expected)}")
        for tensor, spec in specs.items():
            if spec.dtype.name != "float32":
                raise RefusedVersion(f"{what}: {tensor!r} is {spec.dtype.name}, not float32")
            shape = None if spec.shape.rank is None else tuple(spec.shape)
            if shape != (None, None, None, 1):
                raise RefusedVersion(f"{what}: {tensor!r} has shape {shape}, not (None, None, None, 1)")

"""LitServe around a SavedModel: an NPY file as base64 in JSON, an NPY file out.

Its form uploads fail beyond 1 MB, which a float32 slice has: the spooled file cannot be sent to its worker process.

python bench/peers/litserve_server.py SAVED_MODEL PORT        in an environment of its own, see litserve.txt
"""

from __future__ import annotations

import base64
import io
import sys
from typing import Any

import litserve
import numpy as np
import tensorflow as tf
from fastapi import Response


class Restore(litserve.LitAPI):  # type: ignore[misc]
    """(N, H, W, 1) float32 -> the same."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe names it
        """Loads the model."""
        self.model = tf.saved_model.load(sys.argv[1])
        self.restore = self.model.signatures["serving_default"]

    def decode_request(self, request: dict[str, str]) -> Any:
        """The array of the request's file."""
        return np.load(io.BytesIO(base64.b64decode(request["npy"])))

    def predict(self, batch: Any) -> Any:
        """The answer, an array."""
        return self.restore(image=tf.constant(batch))["restored"].numpy()

    def encode_response(self, output: Any) -> Response:
        """An NPY file."""
        file = io.BytesIO()
        np.save(file, output)
        return Response(file.getvalue())


if __name__ == "__main__":
    server = litserve.LitServer(Restore(), accelerator="cpu", timeout=60)
    server.run(host="127.0.0.1", port=int(sys.argv[2]), log_level="error", generate_client_file=False)

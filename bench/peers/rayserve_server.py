"""Ray Serve around a SavedModel: an NPY file in, an NPY file out.

A request goes through Ray Serve's HTTP proxy, a process of its own, to the one replica, which is another. SIGTERM ends
both and what Ray started for them. Only the proxy keeps to loopback: Ray's own processes listen on all addresses.

python bench/peers/rayserve_server.py SAVED_MODEL PORT        in an environment of its own, see rayserve.txt
"""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import tempfile

import numpy as np
import ray
import tensorflow as tf
from ray import serve
from ray.serve.schema import LoggingConfig
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response


class Restore:
    """(N, H, W, 1) float32 -> the same."""

    def __init__(self, saved_model: str) -> None:
        self.model = tf.saved_model.load(saved_model)
        self.restore = self.model.signatures["serving_default"]

    async def __call__(self, request: Request) -> Response:
        """POST / with an NPY file -> an NPY file."""
        batch = np.load(io.BytesIO(await request.body()))
        answer = await run_in_threadpool(self.restore, image=tf.constant(batch))
        file = io.BytesIO()
        np.save(file, answer["restored"].numpy())
        return Response(file.getvalue())


def main(saved_model: str, port: str) -> None:
    """Serves until SIGTERM."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        try:
            ray.init(
                address="local",
                num_cpus=os.cpu_count(),
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _node_ip_address="127.0.0.1",
                _temp_dir=folder,
            )
            quiet = LoggingConfig(log_level="ERROR", enable_access_log=False)
            serve.start(http_options={"host": "127.0.0.1", "port": int(port)}, logging_config=quiet)
            # as many at once as the plain endpoint has threads; 5 by default
            deployment = serve.deployment(Restore, max_ongoing_requests=40)
            serve.run(deployment.bind(saved_model), logging_config=quiet)
            signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # Ray's own handler aborts and leaves processes behind
            signal.pause()
        finally:
            ray.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])

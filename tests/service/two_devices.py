"""A process whose TensorFlow has two devices, which are halves of one CPU: how the service uses them, as JSON.

Devices can only be divided before TensorFlow looks for them, so this is no test but what a test starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np

from model_store.restorer import available_devices, import_tensorflow
from service.app import create_app
from service.settings import Settings
from service.telemetry import configure_logging

HU = {"rescale_slope": "1", "rescale_intercept": "0"}
REQUESTS = 16


@contextlib.asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(Settings(warm_sizes=(), batch_pixels=1, **settings))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost", timeout=60) as http,
    ):
        await app.state.starting
        yield http


async def answers(http: httpx.AsyncClient, image: bytes, model: str) -> dict[str, Any]:
    """Which devices answered the same image, sent many times at once, and how many different answers there were."""
    posts = [
        http.post("/v1/reconstructions", files={"image": image}, data={**HU, "model": model}) for _ in range(REQUESTS)
    ]
    told = await asyncio.gather(*posts)
    return {
        "statuses": sorted({each.status_code for each in told}),
        "devices": sorted({each.headers["clearslice-device"] for each in told}),
        "precisions": sorted({each.headers["clearslice-precision"] for each in told}),
        "answers": len({hashlib.sha256(each.content).hexdigest() for each in told}),
    }


async def main() -> None:
    """Prints what was found."""
    configure_logging("error")
    tf = import_tensorflow()
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    file = io.BytesIO()
    np.save(file, np.random.default_rng(0).normal(0, 100, (120, 136)).astype(np.float32))
    found: dict[str, Any] = {"available": available_devices()}
    async with serving(placement="ct-huber=cpu:1") as http:
        found["anywhere"] = await answers(http, file.getvalue(), "ct-l2")
        for what in ("unload", "load"):  # the second load of a version is warmed in fewer runs, on each device
            found[what] = (await http.post(f"/v2/repository/models/ct-l2/{what}")).status_code
        found["again"] = await answers(http, file.getvalue(), "ct-l2")
        found["placed"] = await answers(http, file.getvalue(), "ct-huber")
        models = (await http.get("/v1/models")).json()["models"]
        found["told"] = {
            model["name"]: version["device"]
            for model in models
            for version in model["versions"]
            if version["state"] == "loaded"
        }
        figures = (await http.get("/metrics")).text.splitlines()
        found["figures"] = sorted(line.partition("}")[0] for line in figures if "device_seconds_total{" in line)
    async with serving(placement="ct-l2=GPU:3") as http:
        found["nowhere"] = (await http.get("/v2/health/ready")).json()["reason"]
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())

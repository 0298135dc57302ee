"""Clients of a running service, in a process of their own, so that their CPU time can be told from the server's.

python -m bench.client URL FILE CLIENTS SECONDS [WAY] --(each: post, wait, post ...)--> JSON on standard output

A way is what is asked: reconstructions (the default), infer of the inference protocol, or what another server takes.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, get_args

import httpx
import numpy as np

from imaging.formats import encode_npy

Way = Literal["plain", "bare", "litserve", "rayserve", "infer", "reconstructions"]

HOUNSFIELD = {"rescale_slope": "1", "rescale_intercept": "0"}
TIMEOUT_S = 60.0


def request_of(way: Way, url: str, file: Path) -> httpx.Request:
    """What each client posts again and again: the image of an NPY file, (1, H, W, 1), or (H, W) for reconstructions."""
    batch = np.load(file)
    if way in {"plain", "bare", "rayserve"}:
        return httpx.Request("POST", url, content=file.read_bytes())
    if way == "litserve":
        text = json.dumps({"npy": base64.b64encode(file.read_bytes()).decode()}).encode()
        return httpx.Request("POST", f"{url}/predict", content=text, headers={"Content-Type": "application/json"})
    if way == "infer":
        tensor = {
            "name": "image",
            "shape": batch.shape,
            "datatype": "FP32",
            "parameters": {"binary_data_size": batch.nbytes},
        }
        text = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
        headers = {"Inference-Header-Content-Length": str(len(text))}
        return httpx.Request("POST", f"{url}/v2/models/adds-one/infer", content=text + batch.tobytes(), headers=headers)
    image = encode_npy([batch.reshape(batch.shape[-3:-1] if batch.ndim > 2 else batch.shape)])  # noqa: PLR2004 - H, W
    request = httpx.Request("POST", f"{url}/v1/reconstructions", files={"image": image}, data=HOUNSFIELD)
    request.read()  # encoded once: it is the server that is measured
    return request


def post_until(client: httpx.Client, request: httpx.Request, end: float) -> list[dict[str, float]]:
    """The server timings, in ms, of each answer that one client got until `end` (`time.monotonic()`).

    Raises:
        httpx.HTTPError: there was no answer, or it was not 200.
    """
    found = []
    while time.monotonic() < end:
        answer = client.post(request.url, content=request.content, headers=request.headers)
        answer.raise_for_status()
        timing = answer.headers.get("server-timing", "")
        entries = (entry.partition(";dur=") for entry in timing.split(", ") if entry)
        found.append({step: float(milliseconds) for step, _, milliseconds in entries})
    return found


def main(url: str, file: str, clients: str, seconds: str, way: str = "reconstructions") -> None:
    """Runs the clients; prints `images` (requests), `seconds`, `cpu` (seconds) and `steps` (step -> mean ms)."""
    kind = next(each for each in get_args(Way) if each == way)
    request = request_of(kind, url, Path(file))
    count = int(clients)
    with httpx.Client(timeout=TIMEOUT_S) as client, ThreadPoolExecutor(count) as pool:
        begin, cpu = time.monotonic(), time.process_time()
        futures = [pool.submit(post_until, client, request, begin + float(seconds)) for _ in range(count)]
        answers = [timings for future in futures for timings in future.result()]
        wall, cpu = time.monotonic() - begin, time.process_time() - cpu
    steps = {step: sum(timings[step] for timings in answers) / len(answers) for step in answers[0]}
    json.dump({"images": len(answers), "seconds": wall, "cpu": cpu, "steps": steps}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])

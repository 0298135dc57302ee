"""Clients of a running service, in a process of their own, so that their CPU time can be told from the server's.

python -m bench.client URL FILE CLIENTS SECONDS --(each: post, wait, post ...)--> JSON on standard output
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

HOUNSFIELD = {"rescale_slope": "1", "rescale_intercept": "0"}
TIMEOUT_S = 60.0


def post_until(client: httpx.Client, request: httpx.Request, end: float) -> list[dict[str, float]]:
    """The server timings, in ms, of each answer that one client got until `end` (`time.monotonic()`).

    Raises:
        httpx.HTTPError: there was no answer, or it was not 200.
    """
    found = []
    while time.monotonic() < end:
        answer = client.post(request.url, content=request.content, headers=request.headers)
        answer.raise_for_status()
        entries = (entry.partition(";dur=") for entry in answer.headers["server-timing"].split(", "))
        found.append({step: float(milliseconds) for step, _, milliseconds in entries})
    return found


def main(url: str, file: str, clients: str, seconds: str) -> None:
    """Runs the clients, and prints `images`, `seconds`, `cpu` (seconds) and `steps` (step -> mean ms per image)."""
    address, image = f"{url}/v1/reconstructions", Path(file).read_bytes()
    request = httpx.Request("POST", address, files={"image": image}, data=HOUNSFIELD)
    request.read()  # encoded once: it is the server that is measured
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

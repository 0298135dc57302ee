"""How the service behaves when it is asked for too much, or changed under load: no figure of speed is worth more.

overload: 10 x the requests that it can answer --60 s----> answered in time or 429 at once; memory; speed after it
reloads:  a model in use, reloaded again and again -------> failures, 99th percentile beside that without, memory
                                                            docs/benchmarks/behaviour.md
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
import numpy as np

from bench import ROOT
from bench.server import Server, serving
from imaging.formats import encode_npy
from imaging.phantom import trunk
from training.provenance import machine, processor

REPORT = ROOT / "docs" / "benchmarks" / "behaviour.md"
HOUNSFIELD = {"rescale_slope": "1", "rescale_intercept": "0"}

OVER = 10
"""Times the capacity, which is measured just before."""

SENDERS = 200
"""More than have places, so that requests are sent when they are due, whatever becomes of those before them."""

DEADLINE_S = 20.0
CALM_CLIENTS = 2


@dataclass(frozen=True)
class Answer:
    """One answer: its status, or 0 where the connection failed, and how long it took."""

    status: int
    seconds: float


def post_until(url: str, image: bytes, stop: Callable[[], bool], *, model: str = "") -> list[Answer]:
    """What one client got that asks again and again, and waits for half a second where it is sent away."""
    found = []
    request = _request(url, image, model=model)
    with httpx.Client(timeout=3 * DEADLINE_S) as client:
        while not stop():
            found.append(_answer(client, request))
            if found[-1].status != httpx.codes.OK:
                time.sleep(0.5)
    return found


def _request(url: str, image: bytes, *, model: str = "") -> httpx.Request:
    fields = {**HOUNSFIELD, **({"model": model} if model else {})}
    request = httpx.Request("POST", f"{url}/v1/reconstructions", files={"image": image}, data=fields)
    request.headers["X-Request-Timeout"] = str(DEADLINE_S)
    request.read()
    return request


def _answer(client: httpx.Client, request: httpx.Request) -> Answer:
    begin, status = time.monotonic(), 0
    with contextlib.suppress(httpx.TransportError):
        status = client.post(request.url, content=request.content, headers=request.headers).status_code
    return Answer(status, time.monotonic() - begin)


def several(url: str, image: bytes, *, clients: int, seconds: float) -> list[Answer]:
    """All answers of so many clients at once, each of which waits for its answer."""
    end = time.monotonic() + seconds
    with ThreadPoolExecutor(clients) as pool:
        futures = [pool.submit(post_until, url, image, lambda: time.monotonic() > end) for _ in range(clients)]
        return [answer for future in futures for answer in future.result()]


def stream(url: str, image: bytes, *, rate: float, seconds: float) -> list[Answer]:
    """All answers to requests that come evenly, `rate` in a second, and wait for none before them."""
    request, begin = _request(url, image), time.monotonic()
    due = iter([begin + number / rate for number in range(int(rate * seconds))])
    lock = threading.Lock()

    def send(client: httpx.Client) -> list[Answer]:
        found: list[Answer] = []
        while True:
            with lock:
                moment = next(due, None)
            if moment is None:
                return found
            time.sleep(max(0.0, moment - time.monotonic()))
            found.append(_answer(client, request))

    limits = httpx.Limits(max_connections=SENDERS)
    with httpx.Client(timeout=3 * DEADLINE_S, limits=limits) as client, ThreadPoolExecutor(SENDERS) as pool:
        futures = [pool.submit(send, client) for _ in range(SENDERS)]
        return [answer for future in futures for answer in future.result()]


def overload(server: Server, image: bytes, *, seconds: float) -> list[str]:
    """Rows about `OVER` times as many requests as it can answer."""
    before = _rate(several(server.url, image, clients=8, seconds=10), 10)
    resident = server.resident_mb()
    answers = stream(server.url, image, rate=OVER * before, seconds=seconds)
    peak = server.peak_mb()
    time.sleep(2)
    after = _rate(several(server.url, image, clients=8, seconds=10), 10)
    served = [answer for answer in answers if answer.status == httpx.codes.OK]
    shed = [answer for answer in answers if answer.status == httpx.codes.TOO_MANY_REQUESTS]
    expected = {httpx.codes.OK, httpx.codes.TOO_MANY_REQUESTS}
    others = Counter(answer.status for answer in answers if answer.status not in expected)
    other = ", ".join(f"{count} x {status or 'no answer'}" for status, count in others.items()) or "nothing else"
    return [
        f"| images/s of 8 clients | {before:.1f} before, {after:.1f} from 2 s after |",
        (
            f"| {OVER} times as many, {seconds:.0f} s | {len(answers)} requests: {len(served)} answered,"
            f" {len(shed)} sent away with 429, {other} |"
        ),
        (
            f"| answered within | {_percentile(served, 50):.1f} s (half), {_percentile(served, 100):.1f} s (all); the"
            f" deadline was {DEADLINE_S:.0f} s |"
        ),
        f"| sent away within | {_percentile(shed, 50):.3f} s (half), {_percentile(shed, 99):.2f} s (99 %) |",
        f"| memory | {resident:.0f} MB before, {peak:.0f} MB at most |",
    ]


def reloads(server: Server, image: bytes, *, times: int, beside: str) -> list[str]:
    """Rows about a model that is unloaded and loaded again and again while its client and those of another go on."""
    name, _, version = beside.partition("@")
    url = f"{server.url}/v1/models/{name}/versions/{version}"
    with httpx.Client(timeout=60) as admin:
        admin.post(f"{url}/load").raise_for_status()
        calm, _ = _beside(server, image, beside, lambda: time.sleep(10))
        resident = server.resident_mb()

        def change() -> None:
            for _ in range(times):
                admin.post(f"{url}/unload").raise_for_status()
                admin.post(f"{url}/load").raise_for_status()

        steady, moved = _beside(server, image, beside, change)
    failed = sum(answer.status != httpx.codes.OK for answer in [*steady, *moved])
    return [
        f"| {times} reloads of {beside} under load | {len(steady) + len(moved)} requests, {failed} failed |",
        (
            f"| 99th percentile of the default model's clients | {1000 * _percentile(calm, 99):.0f} ms without,"
            f" {1000 * _percentile(steady, 99):.0f} ms with reloads |"
        ),
        f"| memory | {resident:.0f} MB before, {server.resident_mb():.0f} MB after |",
    ]


def _beside(server: Server, image: bytes, other: str, work: Callable[[], None]) -> tuple[list[Answer], list[Answer]]:
    """What the default model's clients got while `work` was done, and one of another model."""
    stopped = threading.Event()
    with ThreadPoolExecutor(CALM_CLIENTS + 1) as pool:
        default = [pool.submit(post_until, server.url, image, stopped.is_set) for _ in range(CALM_CLIENTS)]
        moved = pool.submit(post_until, server.url, image, stopped.is_set, model=other)
        try:
            work()
        finally:
            stopped.set()
        return [answer for client in default for answer in client.result()], moved.result()


def _rate(answers: Sequence[Answer], seconds: float) -> float:
    return sum(answer.status == httpx.codes.OK for answer in answers) / seconds


def _percentile(answers: Sequence[Answer], share: float) -> float:
    return float(np.percentile([answer.seconds for answer in answers], share)) if answers else float("nan")


def main() -> None:
    """Prints the report; `--write` also puts it under docs."""
    parser = argparse.ArgumentParser(prog="python -m bench.behaviour", description="Overload, and reloads under load.")
    parser.add_argument("--seconds", type=float, default=60.0, help="of overload")
    parser.add_argument("--reloads", type=int, default=200, help="how many")
    parser.add_argument("--write", action="store_true", help=f"also write {REPORT.relative_to(ROOT)}")
    options = parser.parse_args()
    image = encode_npy([trunk((512, 512), (0.7, 0.7), np.random.default_rng(0))])
    rows = []
    with serving(None) as server:
        rows += overload(server, image, seconds=options.seconds)
    with serving(None) as server:
        rows += reloads(server, image, times=options.reloads, beside="ct-huber@1")
    where = f"{machine()['cores']} cores of {processor()}, {datetime.now(UTC):%Y-%m-%d}"
    text = (
        f"# Behaviour under load\n\n`python -m bench.behaviour`, {where}. The shipped default model, 512 x 512 float32"
        " NPY; clients and server share the cores.\n\n| | |\n|---|---|\n" + "\n".join(rows) + "\n"
    )
    sys.stdout.write(text)
    if options.write:
        REPORT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

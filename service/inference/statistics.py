"""How many inferences a version answered and how long each part took: `/v2/models/.../stats`.

Counted since the start, for requests of the inference protocol only; `/metrics` has the figures of all requests.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

PARTS = {"queue": "queue", "decode": "compute_input", "infer": "compute_infer", "encode": "compute_output"}
"""Of `Inferred.seconds` -> what the protocol calls it."""


@dataclass(eq=False)
class _Counts:
    requests: int = 0
    images: int = 0
    failures: int = 0
    failed_seconds: float = 0.0
    last: float = 0.0
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))


class Statistics:
    """Counts by version; touched in the event loop only."""

    def __init__(self) -> None:
        self._counts: dict[str, _Counts] = defaultdict(_Counts)

    def answered(self, ref: str, images: int, seconds: dict[str, float]) -> None:
        """Counts one request that was answered, by its parts as `Inferred.seconds`."""
        counts = self._counts[ref]
        counts.requests += 1
        counts.images += images
        counts.last = time.time()
        for part, spent in seconds.items():
            counts.seconds[part] += spent

    def failed(self, ref: str, seconds: float) -> None:
        """Counts one that was not."""
        counts = self._counts[ref]
        counts.failures += 1
        counts.failed_seconds += seconds

    def describe(self, name: str, version: int) -> dict[str, Any]:
        """An entry of `model_stats`; times in milliseconds and nanoseconds, as the protocol has them."""
        counts = self._counts.get(f"{name}@{version}", _Counts())

        def spent(count: int, seconds: float) -> dict[str, int]:
            return {"count": count, "ns": round(seconds * 1e9)}

        parts = {title: spent(counts.requests, counts.seconds.get(part, 0.0)) for part, title in PARTS.items()}
        return {
            "name": name,
            "version": str(version),
            "last_inference": round(counts.last * 1000),
            "inference_count": counts.images,
            "execution_count": counts.images,
            "inference_stats": {
                "success": spent(counts.requests, sum(counts.seconds.values())),
                "fail": spent(counts.failures, counts.failed_seconds),
                **parts,
            },
            "batch_stats": [],
        }

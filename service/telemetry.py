"""What the service tells about itself: JSON log lines with a request id, and Prometheus figures.

    request --> request id --> route --> answer
                    |            |          |
                    v            v          v
               every line    label      one access line, counters

Neither holds patient data: no file names, no paths as sent (they are the client's text), no header or field values.
Of an unexpected exception the type and the places in the code are logged and its text is not, since libraries quote
the values that they stumbled over.
"""

from __future__ import annotations

import logging
import random
import re
import sys
import time
import traceback
import warnings
from typing import Any

import structlog
from opentelemetry.trace import INVALID_SPAN, Span
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problems import internal_error
from service.tracing import UNTRACED, Traces, trace_id

REQUEST_ID_HEADER = "X-Request-ID"
_IDS = random.Random()  # noqa: S311 - to find lines of a log by, and no secret: the kernel need not be asked each time
_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

# From a trivial model on a small image to the slowest U-Net on a busy CPU.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

_BATCHES = (1, 2, 4, 8, 16, 32, 64)

_DIFFERENCES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)
"""From fractions of 1, of relative images, to HU."""

_UNROUTED = "unrouted"
"""Label of requests to no route: their paths are the client's invention, and would be labels without number."""

_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_OTHER_METHOD = "any"
"""Label of all other methods, for the same reason."""

CLIENT_CLOSED = 499
"""In logs and figures only: the client was gone before an answer (nginx's convention)."""


class Instruments:
    """The figures of one app, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()

        def count(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(f"clearslice_{name}", meaning, labels, registry=registry)

        def gauge(name: str, meaning: str) -> Gauge:
            return Gauge(f"clearslice_{name}", meaning, registry=registry)

        def time_spent(name: str, meaning: str, *labels: str) -> Histogram:
            return Histogram(f"clearslice_{name}", meaning, labels, registry=registry, buckets=_SECONDS)

        self.requests = count("requests", "Requests answered; 499: the client left.", "method", "route", "status")
        self.requests_by_key = count(
            "requests_by_key", "Requests answered, by the name of their API key.", "key", "status"
        )
        self.api_keys_stale = gauge(
            "api_keys_stale", "1 while the keys file cannot be read and older keys are in force."
        )
        self.request_seconds = time_spent("request_seconds", "First byte in to last byte out.", "method", "route")
        self.decode_seconds = time_spent("decode_seconds", "Upload to pixels.", "format")
        self.queue_seconds = time_spent("queue_seconds", "Waiting for the model and for the device.", "model")
        self.infer_seconds = time_spent("infer_seconds", "Running on the device.", "model")
        self.encode_seconds = time_spent("encode_seconds", "Pixels to answer, metrics included.", "format")
        self.device_seconds = count("device_seconds", "The device ran, whoever shared a run.", "model", "device")
        self.device_pixels = count("device_pixels", "Pixels that the device was given, padding included.", "model")
        self.padded_pixels = count("padded_pixels", "Of them, padding of images that shared a run.", "model")
        self.batch_images = Histogram(
            "clearslice_batch_images", "Images that shared a run.", ["model"], registry=registry, buckets=_BATCHES
        )
        self.device_memory = Gauge(
            "clearslice_device_memory_bytes",
            "Given out by TensorFlow of a device's own memory, now and at most.",
            ["device", "kind"],
            registry=registry,
        )
        self.out_of_memory = count("out_of_memory", "Runs for which the device had not enough memory.")
        self.queue_depth = gauge("queue_depth", "Images that wait for the device.")
        self.shed = count("shed", "Requests answered 429, by what there was too little of.", "place")
        self.warned = count("warned", "Answers that the guard found unlike the model's usual ones.", "model")
        self.expired = count("expired", "Requests whose deadline passed (504).")
        self.abandoned = count("abandoned", "Requests dropped because the client left.")
        self.evicted = count("evicted_versions", "Idle versions that made room for others.")
        self.refused = gauge("refused_versions", "Versions that the store has and that must not be served.")
        self.shadow_difference = Histogram(
            "clearslice_shadow_difference",
            "RMS difference of the shadow's answer, in the model's unit.",
            ["model", "shadow"],
            registry=registry,
            buckets=_DIFFERENCES,
        )
        self.jobs = count("jobs", "Jobs that ended, done or failed.", "state")
        self.jobs_open = gauge("jobs_open", "Jobs that wait or run.")
        self.spool_free_bytes = gauge("spool_free_bytes", "Free bytes on the disk of the spool; 0 without one.")
        self.pacs_instances = count(
            "pacs_instances", "Instances that came from a PACS, by what was said of them.", "kind"
        )
        self.pacs_jobs = count("pacs_jobs", "Series from a PACS that ended.", "state")
        self.pacs_open = gauge("pacs_open", "Series from a PACS that are restored or delivered.")
        self.pacs_dead = gauge(
            "pacs_dead", "Series from a PACS that failed or are dead letters, and wait for somebody."
        )
        self.ready = gauge("ready", "1 while the service takes requests.")
        self.loaded = gauge("loaded_versions", "Model versions in memory.")
        ProcessCollector(registry=registry)

    def count_unread(self, status: int) -> None:
        """A request whose head was not read to its end: it is no HTTP, too large or too slow."""
        self.requests.labels(_OTHER_METHOD, _UNROUTED, str(status)).inc()


class RequestContext:
    """ASGI middleware around everything: request id, access line, counters, and the last resort for exceptions."""

    def __init__(self, app: ASGIApp, *, instruments: Instruments, traces: Traces) -> None:
        self._app = app
        self._instruments = instruments
        self._traces = traces
        self._log = structlog.get_logger("clearslice.access")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif not self._traces.on or scope["path"] in UNTRACED:
            await self._serve(scope, receive, send, INVALID_SPAN)
        else:
            with self._traces.request(Headers(scope=scope)) as span:
                await self._serve(scope, receive, send, span)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, span: Span) -> None:
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        if (traced := trace_id(span)) is not None:
            structlog.contextvars.bind_contextvars(trace_id=traced)
        status = CLIENT_CLOSED
        begin = time.perf_counter()

        async def tagged(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                header = (REQUEST_ID_HEADER.lower().encode(), request_id.encode())
                message = {**message, "headers": [*message.get("headers", ()), header]}
            await send(message)

        # Who may GET may also ask for the headers alone (RFC 9110 section 9.3.2); the server leaves the body out.
        served = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        try:
            await self._app(served, receive, tagged)
        except Exception as error:  # noqa: BLE001 - the last resort: logged once here, answered without internals
            log_defect(error)
            if status == CLIENT_CLOSED:
                await internal_error(scope["path"])(scope, receive, tagged)
        finally:
            route = getattr(served.get("route"), "path", _UNROUTED)
            known = route != _UNROUTED and scope["method"] in _METHODS
            method = scope["method"] if known else _OTHER_METHOD
            self._account(method, route, status, time.perf_counter() - begin)
            self._traces.answered(span, method, route, status)
            if "api_key" in scope["state"]:  # a name from the keys file, so there are no more labels than keys
                self._instruments.requests_by_key.labels(scope["state"]["api_key"], str(status)).inc()

    def _account(self, method: str, route: str, status: int, seconds: float) -> None:
        self._instruments.requests.labels(method, route, str(status)).inc()
        self._instruments.request_seconds.labels(method, route).observe(seconds)
        self._log.info("request", method=method, route=route, status=status, seconds=round(seconds, 6))


def log_defect(error: BaseException) -> None:
    """Logs an exception that is no answer: its type and where it came from, without its text."""
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    causes: list[str] = []
    cause = error.__cause__ or error.__context__
    while cause is not None and len(causes) < 8:  # noqa: PLR2004 - chains end earlier; a loop in one must end, too
        causes.append(type(cause).__qualname__)
        cause = cause.__cause__ or cause.__context__
    structlog.get_logger("clearslice").error("defect", type=type(error).__qualname__, causes=causes, frames=frames)


def _request_id(scope: Scope) -> str:
    """The client's id if it is short and harmless in a log, else a new one."""
    for name, value in scope["headers"]:
        if name == REQUEST_ID_HEADER.lower().encode():
            text = value.decode("latin-1")
            if _SANE_REQUEST_ID.fullmatch(text):
                return str(text)
    return f"{_IDS.getrandbits(128):032x}"


def configure_logging(level: str) -> None:
    """Sends structlog's and the standard library's lines to standard error as JSON, one object a line.

    For the process that serves, called once. Warnings of libraries are silenced: they quote the values they concern.
    """
    warnings.simplefilter("ignore")
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    logging.getLogger("absl").setLevel(logging.WARNING)  # TensorFlow tells of metrics of its own that it cannot log
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.PositionalArgumentsFormatter()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _exception_type_only,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def _exception_type_only(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Other libraries' lines may bring an exception: its type is told, its text may quote patient data."""
    info = event.pop("exc_info", None)
    if isinstance(info, tuple) and info[0] is not None:
        event["exception"] = info[0].__qualname__
    return event

"""Traces: one span for each request and each job, and inside it one for each step. Off unless an endpoint is set.

    OTEL_EXPORTER_OTLP_ENDPOINT --traces_by_environment--> OTLP exporter, in the background
    traceparent of the client --> request: POST /v1/reconstructions --> decode, queue, infer, encode
                                  job ------------------------------->  the same of every instance

The names of the variables are OpenTelemetry's own, as are sampling, headers and timeouts. FastAPI could make spans of
its own, which would hold paths and queries as they were sent, and texts of exceptions: all of them may be a patient's.
Ours hold routes, models, formats and times.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import NoOpTracerProvider, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
SERVICE_NAME = "clearslice"

UNTRACED = frozenset({"/v2/health/live", "/v2/health/ready", "/metrics"})
"""Probes and scrapes would be most of all traces."""

_NANOSECONDS = 1_000_000_000
_SERVER_ERROR = 500


class Traces:
    """Makes the spans of one app.

    Args:
        provider: of OpenTelemetry's SDK; None for no spans at all, which then cost nothing.
        version: of this program.
    """

    def __init__(self, provider: Any = None, *, version: str = "") -> None:
        self.on = provider is not None
        self._provider = provider
        self._tracer = (provider or NoOpTracerProvider()).get_tracer(SERVICE_NAME, version)

    @contextlib.contextmanager
    def request(self, headers: Mapping[str, str]) -> Iterator[Span]:
        """The span of a request, below the client's if it sent one (W3C traceparent); `answered` completes it."""
        parent = TraceContextTextMapPropagator().extract(headers)
        with self._tracer.start_as_current_span(
            "request", parent, SpanKind.SERVER, record_exception=False, set_status_on_exception=False
        ) as span:
            yield span

    @staticmethod
    def answered(span: Span, method: str, route: str, status: int) -> None:
        """What became of a request."""
        span.update_name(f"{method} {route}")
        span.set_attributes({"http.request.method": method, "http.route": route, "http.response.status_code": status})
        if status >= _SERVER_ERROR:
            span.set_status(Status(StatusCode.ERROR))

    @contextlib.contextmanager
    def job(self, job_id: str, model: str, instances: int) -> Iterator[Span]:
        """The span of a job's run, from its start, or after a restart, to its end."""
        attributes: dict[str, str | int] = {
            "clearslice.job": job_id,
            "clearslice.model": model,
            "clearslice.instances": instances,
        }
        with self._tracer.start_as_current_span(
            "job", attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            yield span

    def steps(self, seconds: Mapping[str, float], **attributes: str) -> None:
        """A span for each step of what has just been finished, one after the other.

        Args:
            seconds: step -> how long it took, in order.
            attributes: of all.
        """
        if not self.on:
            return
        named = {f"clearslice.{name}": value for name, value in attributes.items()}
        begin = time.time_ns() - int(sum(seconds.values()) * _NANOSECONDS)
        for step, length in seconds.items():
            span = self._tracer.start_span(step, start_time=begin, attributes=named)
            begin += int(length * _NANOSECONDS)
            span.end(begin)

    def close(self) -> None:
        """Sends what waits to be sent; takes seconds when nobody receives it."""
        if self._provider is not None:
            self._provider.shutdown()


def trace_id(span: Span) -> str | None:
    """As other tools write it, for log lines; None without traces."""
    context = span.get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else None


def traces_by_environment(version: str) -> Traces:
    """As OpenTelemetry's variables say: `OTEL_EXPORTER_OTLP_ENDPOINT` turns it on, and others adjust it."""
    if not any(os.environ.get(name) for name in ENDPOINTS) or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return Traces()
    # 0.1 s, only for those who trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import SERVICE_NAME as NAME  # noqa: PLC0415
    from opentelemetry.sdk.resources import SERVICE_VERSION, Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    named = os.environ.get("OTEL_SERVICE_NAME") or SERVICE_NAME
    provider = TracerProvider(resource=Resource.create({NAME: named, SERVICE_VERSION: version}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Traces(provider, version=version)

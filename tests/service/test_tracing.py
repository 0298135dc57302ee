"""Spans: what they hold, what they never hold, and that a real collector gets them."""

from __future__ import annotations

import io
import itertools
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from service.tracing import ENDPOINTS, Traces, traces_by_environment

pytestmark = pytest.mark.anyio

STEPS = ["decode", "queue", "infer", "encode"]
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def spans():
    return InMemorySpanExporter()


@pytest.fixture
def traced(serve, spans, monkeypatch):
    """(setting=...) -> as `serve`, with spans kept in memory."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr("service.app.traces_by_environment", lambda version: Traces(provider, version=version))
    return serve


async def test_a_request_has_a_span_for_each_step(traced, spans, npy):
    async with traced() as client:
        image = npy(np.zeros((3, 4), np.float32))
        answer = await client.post(image, rescale_slope="1", rescale_intercept="0", headers={"traceparent": PARENT})
        await client.http.get("/v2/health/ready")
        await client.http.get("/metrics")
    assert answer.status_code == 200
    *steps, request = spans.get_finished_spans()
    assert [span.name for span in steps] == STEPS
    assert request.name == "POST /v1/reconstructions"
    assert dict(request.attributes) == {
        "http.request.method": "POST",
        "http.route": "/v1/reconstructions",
        "http.response.status_code": 200,
    }
    assert f"{request.context.trace_id:032x}" == PARENT.split("-")[1]
    assert f"{request.parent.span_id:016x}" == PARENT.split("-")[2]
    assert {span.parent.span_id for span in steps} == {request.context.span_id}
    assert dict(steps[0].attributes) == {
        "clearslice.model": "ct-tiny@1",
        "clearslice.came": "npy",
        "clearslice.went": "npy",
    }
    timings = answer.headers["server-timing"]
    for before, after in itertools.pairwise(steps):
        assert before.end_time == after.start_time
    for span in steps:
        told = float(timings.split(f"{span.name};dur=")[1].split(",")[0])
        assert (span.end_time - span.start_time) / 1e6 == pytest.approx(told, abs=0.01)
    assert request.start_time <= steps[0].start_time


async def test_errors_and_unknown_paths_hold_nothing_of_the_client(traced, spans):
    async def fail(*_, **__):
        raise KeyError("Doe^John")

    async with traced() as client:
        await client.http.get("/Doe^John?name=Doe", headers={"user-agent": "Doe"})
        await client.http.request("DOE", "/v1/models")
        client.engine.reconstruct = fail
        failed = await client.post(b"image Doe")
    assert failed.status_code == 500
    names = {span.name for span in spans.get_finished_spans()}
    assert names == {"any unrouted", "any /v1/models", "POST /v1/reconstructions"}
    for span in spans.get_finished_spans():
        assert "doe" not in span.to_json().lower()
        assert span.status.is_ok is (span.attributes["http.response.status_code"] < 500)


async def test_a_job_holds_the_steps_of_its_instances(traced, spans, ct_slice, tmp_path):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for number in (1, 2):
            file.writestr(str(number), ct_slice(SOPInstanceUID=f"1.2.{number}"))
    async with traced(spool=tmp_path / "spool", spool_reserve=0) as client:
        job = (await client.http.post("/v1/jobs", files={"series": archive.getvalue()})).json()
        await client.http.get(job["links"]["events"])
    (span,) = [span for span in spans.get_finished_spans() if span.name == "job"]
    assert dict(span.attributes) == {
        "clearslice.job": job["id"],
        "clearslice.model": "ct-tiny@1",
        "clearslice.instances": 2,
    }
    below = [
        each.name for each in spans.get_finished_spans() if each.parent and each.parent.span_id == span.context.span_id
    ]
    assert sorted(below) == sorted(STEPS * 2)


async def test_log_lines_name_the_trace(traced, npy, capsys):
    async with traced() as client:
        await client.post(npy(np.zeros((3, 4), np.float32)), headers={"traceparent": PARENT})
    assert f"trace_id={PARENT.split('-')[1]}" in capsys.readouterr().out


def test_without_an_endpoint_there_are_no_spans(monkeypatch):
    for name in ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    assert not traces_by_environment("1").on
    monkeypatch.setenv(ENDPOINTS[1], "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert not traces_by_environment("1").on


async def test_a_collector_gets_them(serve, npy, monkeypatch):
    received: list[ExportTraceServiceRequest] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.path == "/v1/traces":
                received.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        async with serve() as client:
            await client.post(npy(np.zeros((3, 4), np.float32)), rescale_slope="1", rescale_intercept="0")
        server.shutdown()
        thread.join()
    (resource,) = received[0].resource_spans
    named = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert named["service.name"] == "clearslice"
    assert {span.name for span in resource.scope_spans[0].spans} == {*STEPS, "POST /v1/reconstructions"}

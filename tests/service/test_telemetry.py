"""Log lines and figures: one line a request, the request id in each, nothing of the patient in any."""

from __future__ import annotations

import io
import json
import logging
import warnings

import numpy as np
import pytest
import structlog
from structlog.testing import capture_logs

from service.telemetry import Instruments, configure_logging, log_defect

pytestmark = pytest.mark.anyio

HU = {"rescale_slope": "1", "rescale_intercept": "0"}


@pytest.fixture
def logged():
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        yield lines


async def test_one_access_line_per_request_with_route_and_id(serve, npy, logged):
    async with serve() as client:
        logged.clear()
        await client.post(npy(np.zeros((3, 4), np.float32)), headers={"x-request-id": "me-1"}, **HU)
        await client.http.get("/v1/models/ct-tiny")
        await client.http.get("/patients/Doe%5EJane")
    lines = [line for line in logged if line["event"] == "request"]
    assert [(line["method"], line["route"], line["status"]) for line in lines] == [
        ("POST", "/v1/reconstructions", 200),
        ("GET", "/v1/models/{name}", 200),
        ("any", "unrouted", 404),
    ]
    assert lines[0]["request_id"] == "me-1"
    assert all(line["seconds"] >= 0 for line in lines)


async def test_invented_methods_and_paths_make_no_labels(serve, logged):
    async with serve() as client:
        for number in range(3):
            await client.http.request(f"INVENTED{number}", "/v1/models")
            await client.http.get(f"/invented/{number}")
        text = (await client.http.get("/metrics")).text
    assert "nvented" not in text.lower() + json.dumps(logged).lower()
    assert 'clearslice_requests_total{method="any",route="/v1/models",status="405"} 3.0' in text
    assert 'clearslice_requests_total{method="any",route="unrouted",status="404"} 3.0' in text


async def test_lines_of_codec_threads_carry_the_request_id(serve, ct_slice, logged):
    async with serve() as client:
        await client.post(ct_slice(ImageType=["ORIGINAL"]), headers={"x-request-id": "me-2"})
    (line,) = [line for line in logged if line["event"] == "tolerated"]
    assert line["request_id"] == "me-2"


async def test_nothing_of_the_patient_is_logged(serve, ct_slice, logged):
    secrets = {
        "PatientName": "Zebulon^Quirk",
        "PatientID": "ZQ77",
        "AccessionNumber": "ACC99",
        "StudyDescription": "SDX",
    }
    good = ct_slice(**secrets)
    async with serve() as client:
        for file in (good, good[:-40], good.replace(b"-1024 ", b"ZQ77  "), b"Zebulon^Quirk"):
            files = {"image": ("Zebulon^Quirk.dcm", file, "application/dicom")}
            answer = await client.http.post("/v1/reconstructions?patient=ZQ77", files=files)
            if answer.status_code != 200:
                assert not any(secret in answer.text for secret in secrets.values())
    text = json.dumps(logged, default=str)
    assert not any(secret in text for secret in secrets.values())
    assert "Zebulon" not in text


async def test_a_defect_is_logged_once_without_its_text(serve, npy, logged):
    def fail(_):
        raise KeyError("Zebulon^Quirk")

    async with serve(answer=fail) as client:
        answer = await client.post(npy(np.zeros((3, 4), np.float32)), headers={"x-request-id": "me-3"}, **HU)
    (line,) = [line for line in logged if line["event"] == "defect"]
    assert (line["type"], line["request_id"], line["log_level"]) == ("KeyError", "me-3", "error")
    assert any("test_telemetry.py" in frame for frame in line["frames"])
    assert "Zebulon" not in json.dumps(logged, default=str) + answer.text


def fail(text):
    raise ValueError(text)


def test_a_defect_names_its_causes(logged):
    try:
        try:
            fail("inner secret")
        except ValueError as error:
            raise TypeError("outer secret") from error
    except TypeError as error:
        log_defect(error)
    assert (logged[0]["type"], logged[0]["causes"]) == ("TypeError", ["ValueError"])
    assert "secret" not in json.dumps(logged)


async def test_figures_count_steps_and_answers(serve, npy):
    async with serve() as client:
        await client.post(npy(np.zeros((3, 4), np.float32)), **HU)
        await client.post(b"nonsense")
        text = (await client.http.get("/metrics")).text
    for line in (
        'clearslice_requests_total{method="POST",route="/v1/reconstructions",status="200"} 1.0',
        'clearslice_requests_total{method="POST",route="/v1/reconstructions",status="400"} 1.0',
        'clearslice_infer_seconds_count{model="ct-tiny@1"} 1.0',
        'clearslice_queue_seconds_count{model="ct-tiny@1"} 1.0',
        'clearslice_decode_seconds_count{format="npy"} 1.0',
        'clearslice_encode_seconds_count{format="npy"} 1.0',
        "clearslice_ready 1.0",
        "clearslice_loaded_versions 1.0",
    ):
        assert line in text.splitlines()


def test_every_app_has_its_own_registry():
    one, other = Instruments(), Instruments()
    one.expired.inc()
    assert other.expired._value.get() == 0


def test_logs_are_json_lines_also_of_other_libraries(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    configure_logging("info")
    structlog.get_logger("clearslice").info("ours", number=1)
    logging.getLogger("other").warning("theirs %d", 2)
    logging.getLogger("other").debug("not shown")
    try:
        fail("Zebulon^Quirk")
    except ValueError:
        logging.getLogger("other").exception("failed")
    warnings.warn("Zebulon^Quirk", stacklevel=1)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["ours", "theirs 2", "failed"]
    assert lines[0]["number"] == 1
    assert lines[2]["exception"] == "ValueError"
    assert {"level", "timestamp", "logger"} <= set(lines[0])
    assert "Zebulon" not in stream.getvalue()

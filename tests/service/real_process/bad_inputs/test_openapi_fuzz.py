"""Whatever our own OpenAPI document allows, or forbids, is answered as it announces, and never makes the service fail.

schemathesis invents the requests, valid and invalid ones. Half of their files are replaced by real images, so that many
get past the first check, and some requests have a wrong API key or none.
"""

from __future__ import annotations

import io
import time
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.uid import generate_uid
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from service.app import create_app
from service.keys import ApiKey, Scope, digest_of
from service.settings import Settings

KEYS = {"sender": Scope.RECONSTRUCT, "reader": Scope.READ, "admin": Scope.ADMIN}
ADMINISTRATION = (
    "POST /v2/repository/models/",
    "POST /v1/models/",
    "DELETE /v1/models/",
    "GET /v1/pacs",
    "POST /v1/pacs/series",
    "DELETE /v1/pacs",
)
NOT_ADMINISTRATION = ("GET /v1/pacs/pulls/",)
KEEPING = ("/v1/jobs", "/v1/pacs", "/dicom-web")
"""What needs a spool."""

RULES = """
[node]
quiet_seconds = 0.05
reserve = 0
[peers.web]
url = "http://127.0.0.1:9"
[[rules]]
name = "all"
model = "ct-nothing"
to = "web"
"""
"""Every series fails, so that there is something to requeue and to discard."""

BEST = {
    "POST /v1/jobs": 202,
    "DELETE /v1/jobs/{id}": 204,
    "POST /v1/pacs/pulls": 202,
    "POST /v1/pacs/series/{id}/requeue": 202,
    "DELETE /v1/pacs/series/{id}": 204,
    "DELETE /v1/pacs/quarantine/{id}": 204,
}
"""What is answered when all is right, where it is not 200."""

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
SCHEMA = schemathesis.openapi.from_dict(create_app(Settings()).openapi())
OPERATIONS = {result.ok().label: result.ok() for result in SCHEMA.get_all_operations()}


@schemathesis.serializer("application/dicom", "multipart/related")
def as_it_is(_: Any, value: Any) -> bytes:
    """Bytes of a body that schemathesis does not know how to write."""
    return value if isinstance(value, bytes) else repr(value).encode()


def administers(label: str) -> bool:
    return label.startswith(ADMINISTRATION) and not label.startswith(NOT_ADMINISTRATION)


def needs_key(label: str) -> bool:
    return "security" in OPERATIONS[label].definition.raw


OF_THE_MESSAGE = ("Content-Length", "Transfer-Encoding", "Host", "Connection", "Expect", "Upgrade", "Trailer", "TE")
"""Headers that say how a request is read, not what it asks for; Hypothesis knows them from our code. What becomes of
wrong ones is in tests/service/real_process/test_heads.py."""

MOSTLY = st.sampled_from([True, True, False])

bounded = settings(
    derandomize=True,  # the same requests each time: a failure is a change of ours
    database=None,
    max_examples=40,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def guarded(start_server, published_once, tmp_path_factory):
    """A server with keys; each is its own name."""
    path = tmp_path_factory.mktemp("fuzz") / "keys"
    path.write_text("\n".join(ApiKey(n, frozenset({s}), digest_of(n.encode())).line() for n, s in KEYS.items()))
    with start_server(published_once.writable, None, api_keys_file=str(path), max_pixels="1000000") as server:
        server.forbid_writing_files()
        yield server


@pytest.fixture(scope="module")
def keeping(start_server, published_once, tmp_path_factory):
    """A server with the same keys that keeps jobs and is a PACS node, and so may write files."""
    folder = tmp_path_factory.mktemp("jobs")
    (folder / "pacs.toml").write_text(RULES, encoding="utf-8")
    path = folder / "keys"
    path.write_text("\n".join(ApiKey(n, frozenset({s}), digest_of(n.encode())).line() for n, s in KEYS.items()))
    settings = {"spool": str(folder / "spool"), "spool_reserve": "0", "max_jobs": "1000", "max_job_bytes": "1000000"}
    settings["pacs"] = str(folder / "pacs.toml")
    with start_server(published_once.writable, None, api_keys_file=str(path), **settings) as server:
        yield server


def with_real_files(case: Any, name: str, valid_files: dict[str, bytes]) -> None:
    if case.media_type == "multipart/form-data":
        case.body |= {part: valid_files[name] for part in ("image", "reference", "series") if part in case.body}


def name_what_there_is(case: Any, job: str) -> None:
    case.path_parameters = {
        name: {"name": "ct-tiny", "version": "1", "label": "stable", "id": job, "study": "1.2.3"}[name]
        for name in case.path_parameters or {}
    }


def something_there(client: httpx.Client, path: str, ct: bytes, name: str) -> str:
    """The id of what a path is about: a job that has ended, a series that failed, an instance in quarantine, a pull."""
    if path.startswith("/v1/jobs"):
        job = client.post("/v1/jobs", files={"series": ct}).json()["id"]
        client.get(f"/v1/jobs/{job}/events")  # which end when it does
        return str(job)
    if path.startswith("/v1/pacs/pulls"):
        return str(client.post("/v1/pacs/pulls", json={"peer": "web", "series": "1.2.3"}).json()["id"])
    instance = dcmread(io.BytesIO(ct))
    instance.SeriesInstanceUID = instance.SOPInstanceUID = generate_uid(entropy_srcs=[name])
    for description in ("one", "other"):  # the second of this UID goes into quarantine
        instance.SeriesDescription = description
        file = io.BytesIO()
        instance.save_as(file)
        client.post("/dicom-web/studies", content=file.getvalue(), headers={"Content-Type": "application/dicom"})
    kind = "instances" if "quarantine" in path else "series"
    where = "/v1/pacs/quarantine" if "quarantine" in path else "/v1/pacs/series"
    end = time.monotonic() + 20
    while time.monotonic() < end:
        for found in client.get(where, headers={"X-API-Key": "admin"}).json()[kind]:
            if found["series"] == instance.SeriesInstanceUID:
                return str(found["id"])
    raise AssertionError("the series never failed")


def make_sensible(case: Any, file: bytes, ct: bytes) -> None:
    """A form that is to be answered 200, whatever the rest of the request says."""
    for header in ("Accept", "X-Request-Timeout", "Idempotency-Key"):
        case.headers.pop(header, None)
    name_what_there_is(case, "")
    if "label" in case.path_parameters:
        case.body = {"version": 1}
        return
    if case.operation.path == "/v1/pacs/pulls":
        case.body = {"peer": "web", "series": "1.2.3"}
        return
    if case.operation.path.startswith("/dicom-web"):
        case.body = ct if case.media_type == "application/dicom" else case.body
        return
    if case.media_type == "application/json":
        case.headers.pop("Inference-Header-Content-Length", None)
        case.body = {"inputs": [{"name": "image", "shape": [1, 2, 2, 1], "datatype": "INT16", "data": [1, 2, 3, 4]}]}
        return
    case.body = {
        "/v1/metrics": {"image": file, "reference": file},
        "/v1/comparisons": {"image": file, "models": "gray-tiny"},
        "/v1/images": {"image": file},
        "/v1/reconstructions": {"image": file, "model": "gray-tiny"},
        "/v1/jobs": {"series": ct},
    }[case.operation.path]


def check_problem(response: Any, label: str) -> None:
    """An error looks as its part of the interface has it."""
    kind = response.headers["content-type"]
    if " /v2/" in label:
        assert kind == ["application/json"]
        assert set(response.json()) == ({"ready", "reason"} if label == "GET /v2/health/ready" else {"error"})
    elif "/dicom-web/" in label and kind == ["application/dicom+json"]:
        assert {"00081198", "0008119A"} & response.json().keys(), "what failed is told, instance by instance"
        assert response.status_code in {409, 503}
    else:
        assert kind == ["application/problem+json"]
        assert response.json()["status"] == response.status_code


@pytest.mark.parametrize(
    ("label", "mode"),
    [(label, GenerationMode.POSITIVE) for label in OPERATIONS]
    # an open operation takes nothing that could be wrong
    + [(label, GenerationMode.NEGATIVE) for label in OPERATIONS if needs_key(label)],
)
def test_every_answer_is_announced(request, valid_files, label, mode):
    operation = OPERATIONS[label]
    seen: set[int] = set()
    job = ""
    server = request.getfixturevalue("keeping" if operation.path.startswith(KEEPING) else "guarded")
    if "{id}" in operation.path:
        with httpx.Client(base_url=server.url, headers={"X-API-Key": "sender"}, timeout=20) as client:
            job = something_there(client, operation.path, valid_files["dicom explicit"], f"{label} {mode}")

    @bounded
    @given(data=st.data())
    def one(data: st.DataObject) -> None:
        case: Any = data.draw(operation.as_strategy(generation_mode=mode))
        for header in OF_THE_MESSAGE:
            case.headers.pop(header, None)
        key = data.draw(st.sampled_from(["sender", "sender", "admin", "reader", "wrong"]))
        if data.draw(st.booleans()):
            name_what_there_is(case, job)
            key = "admin" if key == "sender" and administers(label) else key
        if (isinstance(case.body, dict) or "/dicom-web/" in label) and data.draw(MOSTLY):
            with_real_files(case, data.draw(st.sampled_from(sorted(valid_files))), valid_files)
            if data.draw(MOSTLY):
                make_sensible(case, valid_files["npy uint8"], valid_files["dicom explicit"])
                key = "admin" if administers(label) else "sender"
        response = case.call(base_url=server.url, headers={"X-API-Key": key}, timeout=20)
        case.validate_response(response, checks=CHECKS)
        seen.add(response.status_code)
        assert response.headers["x-request-id"]
        if response.status_code >= 400:
            check_problem(response, label)
        if key == "wrong" and needs_key(label):
            assert response.status_code in {401, 405}

    one()
    if mode is GenerationMode.POSITIVE:
        # this server may not write files, and so no labels
        best = BEST.get(label, 409 if "{label}" in label else 200)
        assert best in seen, seen


def test_the_server_still_works(guarded):
    answer = httpx.get(f"{guarded.url}/v1/models", headers={"x-api-key": "reader"})
    assert answer.status_code == 200

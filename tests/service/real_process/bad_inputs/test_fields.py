"""Fields, headers and combinations of files that make no sense (item 20)."""

from __future__ import annotations

import io

import httpx
import numpy as np
import pytest

GRAY = {"model": "gray-tiny"}
HU = {"rescale_slope": "1", "rescale_intercept": "0"}

FIELDS = {
    "strength 2": ({"strength": "2"}, "invalid-field"),
    "strength -0.1": ({"strength": "-0.1"}, "invalid-field"),
    "strength abc": ({"strength": "abc"}, "invalid-field"),
    "strength nan": ({"strength": "nan"}, "invalid-field"),
    "strength inf": ({"strength": "inf"}, "invalid-field"),
    "strength of digits": ({"strength": "1" * 1000}, "invalid-field"),
    "metrics nonsense": ({"metrics": "beauty"}, "invalid-field"),
    "metrics without reference": ({"metrics": "psnr"}, "invalid-field"),
    "slope alone": ({"rescale_slope": "1"}, "invalid-field"),
    "slope 0": ({"rescale_slope": "0", "rescale_intercept": "0"}, "invalid-field"),
    "slope nan": ({"rescale_slope": "nan", "rescale_intercept": "0"}, "invalid-field"),
    "slope huge": ({"rescale_slope": "1e30", "rescale_intercept": "0", "model": "ct-tiny"}, "unsuitable-image"),
    "slope tiny": ({"rescale_slope": "1e-320", "rescale_intercept": "0", "model": "ct-tiny"}, None),
    "no unit for a CT model": ({"model": "ct-tiny"}, "unit-mismatch"),
    "model a path": ({"model": "../../etc"}, "invalid-model-ref"),
    "model quotes": ({"model": "ct'\"<script>"}, "invalid-model-ref"),
    "model slashes": ({"model": "a/b@1"}, "invalid-model-ref"),
    "model a format": ({"model": "%s%n{0}"}, "invalid-model-ref"),
    "model with a newline": ({"model": "ct-tiny\n@1"}, "invalid-model-ref"),
    "model unknown": ({"model": "nothing"}, "unknown-model"),
    "model unknown version": ({"model": "ct-tiny@99"}, "unknown-model"),
    "model unknown label": ({"model": "ct-tiny@canary"}, "unknown-model"),
    "model of 1000 letters": ({"model": "a" * 1000}, "invalid-model-ref"),
    "model of 10000 letters": ({"model": "a" * 10000}, "malformed-upload"),
    "unknown field": ({"stength": "1"}, "malformed-upload"),
}


@pytest.mark.parametrize("name", FIELDS)
def test_fields(refuse, client, good, name):
    fields, slug = FIELDS[name]
    if slug is None:
        assert client.post("/v1/reconstructions", files={"image": good}, data=fields).status_code in {200, 422}
        return
    refuse(good, slug, **{**GRAY, **fields})


def npy(shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros(shape, np.uint8))
    return file.getvalue()


@pytest.mark.parametrize(("shape", "told"), [((6, 9), "6 x 9"), ((8, 6), "8 x 6")])
def test_a_reference_of_another_size(refuse, good, shape, told):
    assert told in refuse(good, "unsuitable-image", reference=npy(shape), **GRAY)["detail"]


def test_a_reference_of_another_unit(refuse, ct_slice, ct_dataset):
    reference = npy(ct_dataset().pixel_array.shape)
    assert "unit" in refuse(ct_slice(), "unsuitable-image", reference=reference)["detail"]


def test_a_rescale_for_dicom(refuse, ct_slice):
    refuse(ct_slice(), "unsuitable-image", **HU)


@pytest.mark.parametrize("value", ["0", "-1", "abc", "nan", "1e400", "", "1" * 30])
def test_a_deadline_that_is_none(refuse, good, value):
    refuse(good, "invalid-field", headers={"x-request-timeout": value}, **GRAY)


@pytest.mark.parametrize(
    "accept", ["image/gif", "text/html", "image/png;q=0", "nonsense", "*", ",".join(["a/b"] * 50), ";" * 5000]
)
def test_accept_that_cannot_be_met_lists_what_could(refuse, good, accept):
    problem = refuse(good, "not-acceptable", headers={"accept": accept}, **GRAY)
    assert "application/json" in problem["available"]


def test_a_request_id_that_would_forge_the_log(client, good):
    for wrong in ('x","level":"error', "a" * 65, "a b"):
        answer = client.post("/v1/reconstructions", files={"image": good}, data=GRAY, headers={"x-request-id": wrong})
        assert answer.status_code == 200
        assert answer.headers["x-request-id"] != wrong


MULTIPART = {
    "no file": ({}, "malformed-upload"),
    "file under another name": ({"picture": b"x"}, "malformed-upload"),
    "reference alone": ({"reference": b"x"}, "malformed-upload"),
}


@pytest.mark.parametrize("name", MULTIPART)
def test_forms_without_the_image(client, name):
    files, slug = MULTIPART[name]
    answer = client.post("/v1/reconstructions", files=files or {"strength": (None, "1")})
    assert answer.json()["type"] == f"/problems/{slug}"


def test_two_files_of_one_name(client, good):
    answer = client.post("/v1/reconstructions", files=[("image", good), ("image", good)], data=GRAY)
    assert answer.json()["type"] == "/problems/malformed-upload"


@pytest.mark.parametrize(
    ("content", "headers", "slug"),
    [
        (b"x", {"content-type": "multipart/form-data"}, "malformed-upload"),
        (b"x", {"content-type": 'multipart/form-data; boundary=""'}, "malformed-upload"),
        (b"{}", {"content-type": "application/json"}, "unsupported-body"),
        (b"x", {}, "unsupported-body"),
        (
            b"\x1f\x8b",
            {"content-type": "multipart/form-data; boundary=b", "content-encoding": "gzip"},
            "unsupported-body",
        ),
        (b"", {"content-type": "multipart/form-data; boundary=b"}, "malformed-upload"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/reconstructions", "/v1/comparisons", "/v1/metrics", "/v1/images"])
def test_bodies_that_are_no_form(client, path, content, headers, slug):
    answer: httpx.Response = client.post(path, content=content, headers=headers)
    assert answer.json()["type"] == f"/problems/{slug}"

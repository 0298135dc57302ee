"""The table of errors is complete, and its documents follow RFC 9457."""

from __future__ import annotations

import inspect

import pytest
from structlog.testing import capture_logs

from imaging import errors as imaging_errors
from model_store import errors as store_errors
from service import errors as service_errors
from service.api.problems import TABLE, answer_to, kind_of
from service.pacs import errors as pacs_errors

BASES = (imaging_errors.ImagingError, store_errors.ModelStoreError, service_errors.ServiceError)
# refused before the service starts, so that it never becomes an answer
NOT_ANSWERED = {
    service_errors.UnsafeConfiguration,
    service_errors.InvalidKeysFile,
    service_errors.InvalidConfiguration,
    pacs_errors.NotTaken,  # the base of what STOW-RS and DIMSE have statuses for
}


def expected_errors():
    for module in (imaging_errors, store_errors, service_errors, pacs_errors):
        for _, cls in inspect.getmembers(module, inspect.isclass):
            if issubclass(cls, BASES) and cls not in (*BASES, *NOT_ANSWERED):
                yield cls


@pytest.mark.parametrize("cls", list(expected_errors()), ids=lambda cls: cls.__name__)
def test_every_expected_error_has_its_row(cls):
    assert cls in TABLE


def test_slugs_are_unique_and_statuses_are_errors():
    slugs = [kind.slug for kind in TABLE.values()]
    assert len(set(slugs)) == len(slugs)
    assert all(400 <= kind.status < 600 for kind in TABLE.values())


def test_the_status_table_of_the_interface():
    expected = {
        imaging_errors.NotAnImage: 400,
        store_errors.UnknownModel: 404,
        service_errors.KeyRequired: 401,
        service_errors.ScopeRequired: 403,
        service_errors.ForeignOrigin: 403,
        service_errors.HostNotAllowed: 421,
        service_errors.NotAcceptable: 406,
        store_errors.StoreConflict: 409,
        imaging_errors.TooLarge: 413,
        service_errors.UploadTooLarge: 413,
        imaging_errors.UnsupportedFormat: 415,
        imaging_errors.UnsuitableImage: 422,
        service_errors.UnitMismatch: 422,
        service_errors.TooBusy: 429,
        service_errors.ClientLeft: 499,
        service_errors.NotReady: 503,
        service_errors.DeadlinePassed: 504,
    }
    assert {cls: TABLE[cls].status for cls in expected} == expected


def test_a_subclass_gets_the_row_of_its_nearest_parent():
    class Special(imaging_errors.TooLarge):
        pass

    assert kind_of(Special("x", limit="max_bytes")) is TABLE[imaging_errors.TooLarge]
    assert kind_of(ValueError("x")) is None


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (imaging_errors.NotAnImage("x"), "info"),
        (service_errors.KeyRequired("x", challenge="Bearer"), "info"),
        (service_errors.TooBusy("x", retry_after=1), "info"),
        (service_errors.NotReady("starting", retry_after=5), "warning"),
        (service_errors.DeadlinePassed("x"), "warning"),
        (service_errors.ModelFailed("x"), "error"),
        (store_errors.RefusedVersion("x"), "error"),
    ],
)
def test_only_what_is_wrong_on_our_side_is_logged_as_an_error(error, level):
    with capture_logs() as logged:
        answer_to(error, "/v1/models")
    (line,) = logged
    assert line["log_level"] == level
    assert ("reason" in line) is (level != "info")


def test_headers_of_an_error_reach_the_answer():
    assert answer_to(service_errors.NotReady("x", retry_after=5), "/").headers["retry-after"] == "5"
    assert answer_to(service_errors.KeyRequired("x", challenge="Bearer"), "/").headers["www-authenticate"] == "Bearer"


def test_a_defect_has_no_answer_here():
    with pytest.raises(KeyError):
        answer_to(KeyError("x"), "/")


@pytest.mark.anyio
async def test_the_frameworks_own_errors_are_problem_documents(serve):
    async with serve() as client:
        missing = await client.http.get("/nothing/here")
        method = await client.http.get("/v1/reconstructions")
        slash = await client.http.get("/v1/models/")
    assert (missing.status_code, method.status_code, slash.status_code) == (404, 405, 404)
    assert method.headers["allow"] == "POST"
    for answer in (missing, method, slash):
        assert answer.headers["content-type"] == "application/problem+json"
        assert set(answer.json()) >= {"type", "title", "status", "detail"}

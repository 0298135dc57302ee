"""Settings: from the environment, frozen, explained, and refused where they would expose the service."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from service.errors import UnsafeConfiguration
from service.settings import Settings, SiteConventions, check_exposure, environment_name, is_loopback


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)


def test_every_field_is_explained():
    for model in (Settings, SiteConventions):
        for name, field in model.model_fields.items():
            assert field.description, name
            assert len(field.description) > 25, name


def test_the_environment_sets_every_kind_of_field(monkeypatch):
    values = {
        "HOST": "localhost",
        "PORT": "0",
        "PRELOAD": "ct-l2@3, relative-huber",
        "WARM_SIZES": "512x512, 256X300",
        "PRECISION": "float32",
        "MAX_PIXELS": "1000",
        "DICOM__SERIES_NUMBER_OFFSET": "9000",
        "DICOM__SERIES_DESCRIPTION_SUFFIX": " DN",
        "STORE": "",
        "API_KEYS_FILE": "/run/secrets/keys",
        "ALLOWED_HOSTS": "CT.example.org, *.example.net,",
    }
    for name, value in values.items():
        monkeypatch.setenv(f"CLEARSLICE_{name}", value)
    settings = Settings()
    assert settings.preload == ("ct-l2@3", "relative-huber")
    assert settings.warm_sizes == ((512, 512), (256, 300))
    assert (settings.host, settings.port, settings.precision, settings.max_pixels) == ("localhost", 0, "float32", 1000)
    assert (settings.dicom.series_number_offset, settings.dicom.series_description_suffix) == (9000, " DN")
    assert settings.store is None
    assert settings.api_keys_file == Path("/run/secrets/keys")
    assert settings.allowed_hosts == ("ct.example.org", "*.example.net")


def test_settings_are_frozen():
    with pytest.raises(ValidationError):
        Settings().port = 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": 70000},
        {"precision": "float16"},
        {"warm_sizes": "0x512"},
        {"warm_sizes": "512"},
        {"request_timeout": "nan"},
        {"request_timeout": 0},
        {"max_queue": 0},
        {"dicom": {"series_description_suffix": "\\"}},
        {"dicom": {"content_qualification": "GOOD"}},
        {"dicom": {"unknown": 1}},
        {"allowed_hosts": "http://ct.example.org"},
        {"allowed_hosts": "ct.example.org:8000"},
        {"allowed_hosts": "*example.org"},
        {"allowed_hosts": "**"},
    ],
)
def test_impossible_values(wrong):
    with pytest.raises(ValidationError):
        Settings(**wrong)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),  # noqa: S104 - the point of the test
        ("::", False),
        ("192.168.1.5", False),
        ("example.org", False),
    ],
)
def test_only_loopback_is_bound_without_a_word(host, loopback):
    assert is_loopback(host) is loopback
    if loopback:
        check_exposure(Settings(host=host))
    else:
        with pytest.raises(UnsafeConfiguration, match="CLEARSLICE_ALLOW_ANONYMOUS=1") as refused:
            check_exposure(Settings(host=host))
        assert "clearslice keys new" in str(refused.value)
        assert "CLEARSLICE_API_KEYS_FILE" in str(refused.value)
    check_exposure(Settings(host=host, allow_anonymous=True))
    check_exposure(Settings(host=host, api_keys_file="keys"))


def test_more_than_one_worker_is_refused_with_the_reason(monkeypatch):
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    with pytest.raises(UnsafeConfiguration, match="one process for all devices"):
        check_exposure(Settings())


def test_names_of_environment_variables():
    assert environment_name("max_pixels") == "CLEARSLICE_MAX_PIXELS"

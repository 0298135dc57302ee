"""docs/settings.md equals what docs/settings.py makes of the settings, and tells their names and defaults truly."""

from __future__ import annotations

import runpy
from pathlib import Path

from service.settings import Settings

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")


def test_the_page_is_up_to_date():
    assert runpy.run_path(str(ROOT / "docs" / "settings.py"))["page"]() == PAGE, "run: make docs"


def test_every_variable_with_a_default_is_read_and_has_that_default(monkeypatch):
    rows = [[cell.strip() for cell in line.split("|")[1:5]] for line in PAGE.splitlines() if line.startswith("| `")]
    assert len(rows) > len(Settings.model_fields)
    settings = Settings()
    for variable, default, *_ in rows:
        if default.startswith("`"):
            # spaces at the ends belong to the value, and the split above took none from inside the backticks
            monkeypatch.setenv(variable.strip("`"), default.strip("`"))
    assert Settings() == settings


def test_names_of_the_page_are_the_ones_that_work(monkeypatch):
    other = {
        "CLEARSLICE_HOST": ("::1", lambda s: s.host == "::1"),
        "CLEARSLICE_MAX_QUEUE": ("7", lambda s: s.max_queue == 7),
        "CLEARSLICE_DICOM__SERIES_NUMBER_OFFSET": ("9000", lambda s: s.dicom.series_number_offset == 9000),
        "WEB_CONCURRENCY": ("2", lambda s: s.web_concurrency == 2),
    }
    for variable, (value, _) in other.items():
        assert f"| `{variable}` |" in PAGE
        monkeypatch.setenv(variable, value)
    settings = Settings()
    assert all(holds(settings) for _, holds in other.values())

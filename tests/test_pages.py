"""What SECURITY.md, THIRD_PARTY.md and deploy/README.md point at exists; no lock names an index."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = ["SECURITY.md", "THIRD_PARTY.md", "deploy/README.md"]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


@pytest.mark.parametrize("page", PAGES)
def test_links_of_a_page_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!http)([^)#]+)\)", text)
    assert links
    for link in links:
        assert ((ROOT / page).parent / link).exists(), link


def test_the_code_that_security_names_exists_and_so_do_the_make_targets():
    text = "".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
    paths = re.findall(r"`((?:service|imaging|model_store|deploy|requirements)/[\w/.-]*)`", text)
    assert len(paths) > 10
    for path in paths:
        assert (ROOT / path).exists(), path
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"(?:`|\$ )make ([a-z-]+)", text)) <= set(targets)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_has_a_hash_for_everything_and_names_no_index(lock):
    text = lock.read_text(encoding="utf-8")
    assert "index" not in text.replace("importlib", "")
    assert "://" not in text
    entries = re.findall(r"^[A-Za-z0-9].*(?:\n +.*)*", text, re.MULTILINE)
    assert len(entries) > 20
    assert all("==" in entry and "--hash=sha256:" in entry for entry in entries)


def test_the_bill_of_materials_has_each_package_once_as_installed_here():
    here = runpy.run_path(str(ROOT / "requirements" / "here.py"))["here"]
    lock = (
        "colorama==0.4.6 ; sys_platform == 'win32' \\\n    --hash=sha256:aa\n"
        "numpy==2.4.6 ; python_full_version < '3.12' \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\n"
        "numpy==2.5.5 ; python_full_version >= '3.12' \\\n    --hash=sha256:dd\n"
        "scipy==1.17.1 \\\n    --hash=sha256:ee\n"
    )
    older, newer = "2.4.6 \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc", "2.5.5 \\\n    --hash=sha256:dd"
    numpy = older if sys.version_info < (3, 12) else newer
    assert here(lock) == f"numpy=={numpy}\nscipy==1.17.1 \\\n    --hash=sha256:ee\n"
    names = re.findall(r"^[a-z0-9-]+", here((ROOT / "requirements" / "cpu.txt").read_text()), re.MULTILINE)
    assert len(names) == len(set(names))

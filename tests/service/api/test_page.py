"""The files of the page: how they are served, and that they ask nobody else."""

from __future__ import annotations

import posixpath
import re

import pytest

from service.api.page import ASSETS, FOLDER, read_assets

pytestmark = pytest.mark.anyio

NAMESPACE = "http://www.w3.org/2000/svg"


async def test_every_file_of_the_folder_is_served_under_its_policy(serve):
    async with serve() as client:
        for name, asset in ASSETS.items():
            answer = await client.http.get(f"/web/{name}")
            assert answer.status_code == 200
            assert answer.content == asset.data == (FOLDER / name).read_bytes()
            assert answer.headers["content-type"] == asset.media_type
            assert answer.headers["x-content-type-options"] == "nosniff"
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "script-src" not in policy or "script-src 'self';" in policy
            assert ("'unsafe-inline'" in policy) is (name == "which-loss.html")
            assert "unsafe-eval" not in policy
    assert {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file()} == set(ASSETS)


async def test_the_page_is_at_the_root(serve):
    async with serve() as client:
        page = await client.http.get("/")
    assert page.content == ASSETS["index.html"].data
    assert page.headers["content-type"].startswith("text/html")


async def test_what_the_browser_has_is_not_sent_again(serve):
    async with serve() as client:
        first = await client.http.get("/web/main.js")
        again = await client.http.get("/web/main.js", headers={"If-None-Match": first.headers["etag"]})
        other = await client.http.get("/web/main.js", headers={"If-None-Match": '"other"'})
    assert first.headers["cache-control"] == "no-cache"
    assert (again.status_code, again.content, other.status_code) == (304, b"", 200)
    assert again.headers["etag"] == first.headers["etag"]


@pytest.mark.parametrize("name", ["none.js", "..%2fapp.py", "%2e%2e/app.py", "main.js/", "", "MAIN.JS"])
async def test_nothing_else_is_there(serve, name):
    async with serve() as client:
        answer = await client.http.get(f"/web/{name}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_only_files_of_known_types_are_read(tmp_path):
    (tmp_path / "a.js").write_text("1")
    (tmp_path / "a.py").write_text("1")
    (tmp_path / "folder.js").mkdir()
    (tmp_path / "folder.js" / "b.css").write_text("")
    assert set(read_assets(tmp_path)) == {"a.js", "folder.js/b.css"}


@pytest.mark.parametrize("name", sorted(name for name in ASSETS if name.endswith((".js", ".css", ".html", ".svg"))))
def test_no_file_names_another_server_or_has_script_or_style_inside(name):
    text = ASSETS[name].data.decode()
    if name == "which-loss.html":  # a report of its own: styles and pictures inside, and no script
        assert "<script" not in text
        assert re.findall(r'(?:src|href)="(?!data:|#)', text) == []
        return
    assert re.findall(r"https?://[^\s\"'`)]+", text.replace(NAMESPACE, "")) == []
    assert "innerHTML" not in text
    assert "eval(" not in text
    assert re.findall(r"<script(?! type=\"module\" src=)|<style| style=| on[a-z]+=\"", text) == []


def imported_by(name):
    """Paths of the modules that a module names, in its comments, too."""
    named = re.findall(r"""(?:from |import\()"(\.[^"]+)""", ASSETS[name].data.decode())
    return {posixpath.normpath(posixpath.join(posixpath.dirname(name), each)) for each in named}


def test_every_import_and_link_is_a_file_of_the_page():
    for name in ASSETS:
        if name.endswith(".js"):
            assert imported_by(name) <= set(ASSETS), name
    linked = re.findall(r'(?:href|src)="web/([^"]+)"', ASSETS["index.html"].data.decode())
    assert set(linked) <= set(ASSETS)


def test_every_module_is_used():
    imported = {"main.js"}
    waiting = ["main.js"]
    while waiting:
        found = imported_by(waiting.pop()) - imported
        imported |= found
        waiting += found
    assert imported == {name for name in ASSETS if name.endswith(".js")}

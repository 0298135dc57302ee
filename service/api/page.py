"""The page at `/`, for people: files that come with the program, read once, and shown under a strict policy.

service/web/* --read once--> Assets --GET /, /web/{path}--> 200, 304 when the browser has it, 404

Nothing here needs a key: the files are the same on every server. What the page shows it asks of the API, with the key
that its user gives.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from fastapi import APIRouter, HTTPException, Request
from starlette.responses import Response

router = APIRouter(include_in_schema=False)

FOLDER = Path(__file__).parents[1] / "web"
INDEX = "index.html"

MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".dcm": "application/dicom",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

_NOWHERE = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; "
    + _NOWHERE
)
"""No script but our own files, no style in attributes, no call to anywhere but this server."""

REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; " + _NOWHERE
"""Reports are one file each, with their styles and pictures inside, and have no script."""

HEADERS = {
    "Cache-Control": "no-cache",  # asked for each time, and answered 304
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class Asset:
    """One file of the page.

    Attributes:
        media_type: from its suffix.
        headers: how a browser may use and keep it.
    """

    data: bytes = field(repr=False)
    media_type: str
    headers: dict[str, str]


def read_assets(folder: Path) -> MappingProxyType[str, Asset]:
    """Every file below a folder whose type is one of a page's, by its path.

    Args:
        folder: of the program, with files that nobody else writes.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        media_type = MEDIA_TYPES.get(path.suffix)
        if media_type is not None and path.is_file():
            data = path.read_bytes()
            etag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
            policy = REPORT_POLICY if path.suffix == ".html" and path.name != INDEX else PAGE_POLICY
            headers = {**HEADERS, "ETag": etag, "Content-Security-Policy": policy}
            found[path.relative_to(folder).as_posix()] = Asset(data, media_type, headers)
    return MappingProxyType(found)


ASSETS = read_assets(FOLDER)


@router.get("/")
async def index(request: Request) -> Response:
    """The page."""
    return _answer(request, ASSETS[INDEX])


@router.get("/web/{path:path}")
async def asset(request: Request, path: str) -> Response:
    """A file that the page is made of."""
    if path not in ASSETS:
        raise HTTPException(404)
    return _answer(request, ASSETS[path])


def _answer(request: Request, found: Asset) -> Response:
    if found.headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=found.headers)
    return Response(found.data, media_type=found.media_type, headers=found.headers)

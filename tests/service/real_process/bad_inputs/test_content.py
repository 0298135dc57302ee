"""Files that are no image, or of another format than their name says: the content decides (items 1 and 19)."""

from __future__ import annotations

import pytest

GRAY = {"model": "gray-tiny"}

FILES = {
    "empty": (b"", "not-an-image"),
    "one byte": (b"\x89", "not-an-image"),
    "text": (b"hello, this is no image\n", "not-an-image"),
    "html": (b"<!doctype html><html></html>", "not-an-image"),
    "pdf": (b"%PDF-1.7\n%...", "not-an-image"),
    "zip": (b"PK\x03\x04" + b"\0" * 30, "not-an-image"),
    "gzip": (b"\x1f\x8b" + bytes(30), "not-an-image"),
    "zeros": (bytes(3000), "not-an-image"),
    "every byte": (bytes(range(256)) * 4, "not-an-image"),
    "program": (b"MZ" + bytes(200), "not-an-image"),
    "jpeg": (b"\xff\xd8\xff\xe0" + bytes(40), "unsupported-format"),
    "jpeg 2000": (b"\0\0\0\x0cjP  \r\n\x87\n", "unsupported-format"),
    "gif": (b"GIF89a" + bytes(30), "unsupported-format"),
    "webp": (b"RIFF\0\0\0\0WEBPVP8 ", "unsupported-format"),
    "png damaged as text": (b"\x89PNG\n\x1a\n" + bytes(20), "not-an-image"),
}


@pytest.mark.parametrize("name", FILES)
def test_as_image_and_as_reference(refuse, good, name):
    content, slug = FILES[name]
    refuse(content, slug, **GRAY)
    refuse(good, slug, reference=content, **GRAY)


@pytest.mark.parametrize("name", ["scan.png", "scan.dcm", "scan.npy", "../../etc/passwd", "scan.dcm\0.png", "a" * 3000])
def test_no_name_makes_a_document_an_image_and_none_is_told(client, name):
    files = {"image": (name, b"%PDF-1.7\n%...", "image/png")}
    answer = client.post("/v1/reconstructions", files=files, data=GRAY)
    assert answer.status_code == 400
    assert answer.json()["type"] == "/problems/not-an-image"
    assert "scan" not in answer.text
    assert "passwd" not in answer.text

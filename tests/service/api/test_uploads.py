"""Multipart bodies as they come over the wire: broken, endless, slow, abandoned; and whole ones in any chunks."""

from __future__ import annotations

import asyncio
import itertools
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from service.api.uploads import MAX_FIELD_BYTES, Form, FormLimits, read_form
from service.errors import ClientLeft, MalformedUpload, NotMultipart, UploadTimeout, UploadTooLarge

pytestmark = pytest.mark.anyio

LIMITS = FormLimits(
    max_bytes=10_000, max_seconds=5, files=frozenset({"image", "reference"}), texts=frozenset({"model", "strength"})
)
TYPE = "multipart/form-data; boundary=XX"


def part(name: str, content: bytes, *, file: bool = False, extra: str = "") -> bytes:
    filename = '; filename="secret name.dcm"' if file else ""
    return (
        f'--XX\r\nContent-Disposition: form-data; name="{name}"{filename}\r\n{extra}\r\n'.encode() + content + b"\r\n"
    )


END = b"--XX--\r\n"


def request(chunks: list[bytes], *, content_type: str | None = TYPE, then: str = "end", **headers: str) -> Request:
    """A request whose body arrives in these chunks, and then ends, hangs, or breaks off."""
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    if then == "end":
        messages.append({"type": "http.request", "body": b"", "more_body": False})
    elif then == "leave":
        messages.append({"type": "http.disconnect"})
    pending = iter(messages)

    async def receive():
        for message in pending:
            return message
        await asyncio.Event().wait()  # nothing more ever comes
        raise AssertionError

    named = dict(headers) if content_type is None else {"content-type": content_type, **headers}
    raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in named.items()]
    return Request({"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": raw}, receive)


@given(
    image=st.binary(max_size=300),
    model=st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    cuts=st.lists(st.integers(0, 900), max_size=8),
)
@settings(max_examples=60)
def test_any_chunking_gives_the_same_parts(image, model, cuts):
    body = part("image", image, file=True) + part("model", model.encode()) + END
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    chunks = [body[start:end] for start, end in itertools.pairwise(edges)]
    form = asyncio.run(read_form(request(chunks), LIMITS))
    assert form == Form({"image": image}, {"model": model.strip()})


async def test_bytes_that_look_like_a_boundary_stay_content():
    content = b"\r\n--X\r\n--XY\r\n"
    form = await read_form(request([part("image", content, file=True) + END]), LIMITS)
    assert form.files["image"] == content


BROKEN = {
    "no boundary": ([END], "multipart/form-data", MalformedUpload),
    "empty boundary": ([END], 'multipart/form-data; boundary=""', MalformedUpload),
    "endless boundary": ([END], "multipart/form-data; boundary=" + "b" * 5000, MalformedUpload),
    "another type": ([b"{}"], "application/json", NotMultipart),
    "no type": ([b""], None, NotMultipart),
    "urlencoded": ([b"model=x"], "application/x-www-form-urlencoded", NotMultipart),
    "empty body": ([b""], TYPE, MalformedUpload),
    "no parts at all": ([b"garbage without end"], TYPE, MalformedUpload),
    "cut off in the content": ([part("image", b"abc")[:-5]], TYPE, MalformedUpload),
    "cut off before the end": ([part("image", b"abc")], TYPE, MalformedUpload),
    "two files of one name": ([part("image", b"a"), part("image", b"b"), END], TYPE, MalformedUpload),
    "two texts of one name": ([part("model", b"a"), part("model", b"b"), END], TYPE, MalformedUpload),
    "unknown part": ([part("picture", b"a"), END], TYPE, MalformedUpload),
    "part without name": ([b"--XX\r\nContent-Disposition: form-data\r\n\r\na\r\n", END], TYPE, MalformedUpload),
    "part without headers": ([b"--XX\r\n\r\na\r\n", END], TYPE, MalformedUpload),
    "headers without end": ([b"--XX\r\n" + b"a: b\r\n" * 1000], TYPE, MalformedUpload),
    "a header without end": ([b"--XX\r\nA: " + b"b" * 9000], TYPE, MalformedUpload),
    "text too long": ([part("model", b"m" * (MAX_FIELD_BYTES + 1)), END], TYPE, MalformedUpload),
    "text not UTF-8": ([part("model", b"\xff\xfe"), END], TYPE, MalformedUpload),
    "base64 part": (
        [part("image", b"YQ==", extra="Content-Transfer-Encoding: base64\r\n"), END],
        TYPE,
        MalformedUpload,
    ),
    "a megabyte of part headers": ([b"--XX\r\n" + b"a: b\r\n" * 9, b"a: b\r\n" * 150_000], TYPE, MalformedUpload),
    "a name without end": (
        [b'--XX\r\nContent-Disposition: form-data; name="' + b"n" * 5000, b'"\r\n\r\n', END],
        TYPE,
        MalformedUpload,
    ),
    "a name in the extended syntax": (
        [b"--XX\r\nContent-Disposition: form-data; name*=utf-8''image\r\n\r\na\r\n", END],
        TYPE,
        MalformedUpload,
    ),
    "a disposition of another kind": (
        [b'--XX\r\nContent-Disposition: attachment; name="image"\r\n\r\na\r\n', END],
        TYPE,
        MalformedUpload,
    ),
    "a part within a part": (
        [
            part("image", b"", extra="Content-Type: multipart/mixed; boundary=YY\r\nContent-Transfer-Encoding: x\r\n"),
            END,
        ],
        TYPE,
        MalformedUpload,
    ),
    "a boundary of other bytes": ([END], "multipart/form-data; boundary=\xe9\xff", MalformedUpload),
    "60000 parameters": ([END], "multipart/form-data" + ";" * 60_000, MalformedUpload),
    "1000 parts": ([part(f"p{number}", b"") for number in range(1000)], TYPE, MalformedUpload),
    "too many bytes": ([part("image", b"")[:-2], b"x" * 10_000], TYPE, UploadTooLarge),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_broken_bodies(name):
    chunks, content_type, error = BROKEN[name]
    with pytest.raises(error) as caught:
        await read_form(request(chunks, content_type=content_type), LIMITS)
    assert "secret name" not in str(caught.value)


async def test_a_declared_length_is_refused_before_anything_is_read():
    with pytest.raises(UploadTooLarge, match="CLEARSLICE_MAX_UPLOAD_BYTES"):
        await read_form(request([], then="hang", content_length="10001"), LIMITS)


@pytest.mark.parametrize("length", ["", "-1", "ten", "1e9", "\xb2", "+5", "0", "1"])
async def test_a_content_length_that_says_nothing_is_not_believed(length):
    form = await read_form(request([part("image", b"abc"), END], content_length=length), LIMITS)
    assert form.files["image"] == b"abc"


async def test_a_content_length_beyond_any_number_is_too_large():
    with pytest.raises(UploadTooLarge):
        await read_form(request([], then="hang", content_length="9" * 5000), LIMITS)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "C:\\scan.dcm", 'a"b', "\u0418\u0432\u0430\u043d", "a" * 3000, "x\0y", "; name=evil"]
)
async def test_no_file_name_matters(name):
    head = b'--XX\r\nContent-Disposition: form-data; name="image"; filename="' + name.replace('"', '\\"').encode()
    form = await read_form(request([head + b'"\r\n\r\nabc\r\n', END]), LIMITS)
    assert form == Form({"image": b"abc"}, {})


async def test_one_byte_at_a_time():
    body = part("image", bytes(range(256)), file=True) + END
    form = await read_form(request([body[at : at + 1] for at in range(len(body))]), LIMITS)
    assert form.files["image"] == bytes(range(256))


async def test_an_endless_body_without_length_stops_at_the_cap():
    endless = [part("image", b"")[:-2]] + [b"x" * 1000] * 1000
    with pytest.raises(UploadTooLarge):
        await read_form(request(endless, then="hang"), LIMITS)


async def test_a_slow_body_times_out():
    slow = FormLimits(max_bytes=100, max_seconds=0.01, files=LIMITS.files, texts=LIMITS.texts)
    with pytest.raises(UploadTimeout, match="CLEARSLICE_UPLOAD_TIMEOUT"):
        await read_form(request([part("image", b"")[:9]], then="hang"), slow)


async def test_a_client_that_leaves():
    with pytest.raises(ClientLeft):
        await read_form(request([part("image", b"")[:9]], then="leave"), LIMITS)


async def test_a_compressed_body_is_refused():
    with pytest.raises(NotMultipart, match="Content-Encoding"):
        await read_form(request([b"\x1f\x8b"], content_encoding="gzip"), LIMITS)


async def test_a_missing_file_is_named():
    form = await read_form(request([part("model", b"x"), END]), LIMITS)
    with pytest.raises(MalformedUpload, match="'image'"):
        form.file("image")


async def test_nothing_is_spooled_to_a_file(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a temporary file was made")

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", refuse)
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)
    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    big = FormLimits(max_bytes=5_000_000, max_seconds=5, files=LIMITS.files, texts=LIMITS.texts)
    form = await read_form(request([part("image", bytes(4_000_000), file=True), END]), big)
    assert len(form.files["image"]) == 4_000_000

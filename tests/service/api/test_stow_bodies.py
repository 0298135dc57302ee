"""Bodies of STOW-RS: chunked, slow, cut off, too large or built as a trap; only whole instances are ever kept."""

from __future__ import annotations

import asyncio
import tracemalloc

import numpy as np
import pytest

pytestmark = pytest.mark.anyio

BOUNDARY = "a-boundary"
RELATED = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'


@pytest.fixture
def kit(stow):
    return stow


@pytest.mark.parametrize("size", [1, 7, 61, 4096])
async def test_chunks_of_any_size(kit, size):
    files = kit.files(2)
    async with kit.node() as client:
        answer = await kit.post(client, kit.Body(kit.multipart(*files), size))
    assert (answer.status_code, kit.told(answer)) == (200, (["1.2.3.4.1", "1.2.3.4.2"], {}, []))


@pytest.mark.parametrize(
    "kind",
    [
        f"multipart/related; boundary={BOUNDARY}",
        f'Multipart/Related; boundary="{BOUNDARY}"; type=application/dicom',
        f'multipart/related; type="Application/DICOM"; boundary={BOUNDARY}; start="<1>"',
    ],
)
async def test_content_types_that_are_taken(kit, kind):
    async with kit.node() as client:
        assert (await kit.post(client, kit.multipart(*kit.files(1)), kind=kind)).status_code == 200


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("multipart/form-data; boundary=a-boundary", 415),
        ("application/json", 415),
        ("", 415),
        ('multipart/related; type="application/dicom+xml"; boundary=a-boundary', 415),
        ('multipart/related; type="application/dicom"', 400),
        (f'multipart/related; type="application/dicom"; boundary={"x" * 300}', 400),
        ("multipart/related; boundary=another", 400),
    ],
)
async def test_content_types_that_are_not(kit, kind, status):
    async with kit.node() as client:
        answer = await kit.post(client, kit.multipart(*kit.files(1)), kind=kind)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert kit.left() == []


async def test_a_part_of_another_type_and_a_compressed_body(kit):
    async with kit.node() as client:
        answer = await kit.post(client, kit.multipart(b"{}", headers=b"Content-Type: application/dicom+json\r\n"))
        assert answer.status_code == 415
        answer = await kit.post(client, kit.multipart(*kit.files(1)), **{"content-encoding": "gzip"})
        assert answer.status_code == 415
    assert kit.left() == []


BODIES = {
    "nothing": b"",
    "no instance": b"--a-boundary--\r\n",
    "no boundary": b"words",
    "cut off in the headers": b"--a-boundary\r\nContent-Ty",
    "no closing boundary": b"--a-boundary\r\n\r\nx\r\n",
    "a header without end": b"--a-boundary\r\nX: " + b"x" * 100_000,
    "thousands of headers": b"--a-boundary\r\n" + b"A: b\r\n" * 5000,
    "a nameless header": b"--a-boundary\r\n: b\r\n\r\nx\r\n--a-boundary--\r\n",
}


@pytest.mark.parametrize("name", BODIES)
async def test_broken_bodies(kit, name):
    async with kit.node() as client:
        answer = await kit.post(client, BODIES[name])
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/malformed-upload")
    assert kit.left() == []


async def test_what_looks_like_a_boundary_inside_of_an_instance(kit):
    traps = b"\r\n--a-boundarx \r\n--a-boundar\r\n--a-\r\n-- \r\n--a-boundary-no \r\n\r\n--"
    (data,) = kit.files(1, ImageComments=traps.decode())
    for size in (1, 50, 10_000):
        async with kit.node() as client:
            assert (await kit.post(client, kit.Body(kit.multipart(data), size))).status_code == 200
    kept = next(iter((client.app.state.pacs.node.arrivals.series("1.2.3.4").folder / "source").iterdir()))
    assert traps in kept.read_bytes()


async def test_a_boundary_with_spaces_before_its_end_and_an_epilogue(kit):
    body = kit.multipart(*kit.files(2)).replace(b"\r\n--a-boundary\r\n", b"\r\n--a-boundary \t\r\n") + b"epilogue"
    async with kit.node() as client:
        assert kit.told(await kit.post(client, b"\r\n" + body))[0] == ["1.2.3.4.1", "1.2.3.4.2"]


async def test_a_body_that_is_cut_off_leaves_whole_instances_only(kit):
    body = kit.multipart(*kit.files(3))
    async with kit.node() as client:
        answer = await kit.post(client, body[:-300])
        assert (answer.status_code, answer.json()["type"]) == (400, "/problems/malformed-upload")
        assert kit.left() == ["1.2.3.4.1", "1.2.3.4.2"]
        assert not client.app.state.pacs.node.arrivals.series("1.2.3.4").anybody_present()
        assert (await kit.post(client, body)).status_code == 200
    assert len(kit.left()) == 3


async def test_a_slow_body_is_ended_and_holds_nothing(kit):
    async with kit.node(job_upload_timeout=0.3) as client:
        forever = asyncio.Event()
        answer = await kit.post(client, kit.Body(kit.multipart(*kit.files(2)), 1000, wait=forever.wait))
        assert (answer.status_code, answer.json()["type"]) == (408, "/problems/upload-timeout")
        assert not client.app.state.pacs.node.arrivals.series("1.2.3.4").anybody_present()
        assert client.app.state.pacs._visits == 0


@pytest.mark.parametrize("kind", [RELATED, "application/dicom"])
async def test_an_instance_larger_than_allowed(kit, kind):
    large = kit.files(1, ImageComments="x" * 9000)[0]
    body = kit.multipart(*kit.files(1, SOPInstanceUID="1.2.9"), large) if kind == RELATED else large
    async with kit.node(max_upload_bytes=8000) as client:
        answer = await kit.post(client, kit.Body(body, 1000), kind=kind)
    assert (answer.status_code, answer.json()["type"]) == (413, "/problems/upload-too-large")
    assert kit.left() == (["1.2.9"] if kind == RELATED else [])


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_larger_than_allowed(kit, declared):
    body = kit.multipart(*kit.files(20))
    async with kit.node(max_job_bytes=20_000) as client:
        answer = await kit.post(client, body if declared else kit.Body(body, 1000))
        assert (answer.status_code, answer.json()["setting"]) == (413, "CLEARSLICE_MAX_JOB_BYTES")
    assert (len(kit.left()) > 0) is not declared


async def test_more_instances_than_one_request_may_have(kit, monkeypatch):
    monkeypatch.setattr("service.api.stow.MOST_INSTANCES", 3)
    async with kit.node() as client:
        assert (await kit.post(client, kit.multipart(*kit.files(3)))).status_code == 200
        answer = await kit.post(client, kit.multipart(*kit.files(4)))
        assert answer.status_code == 413
        assert answer.json()["detail"] == "the request has more than 3 instances; send them in several requests"


async def test_many_parts_do_not_stay_in_memory(kit):
    pixels = np.zeros((256, 256), np.int16)
    count = 60

    async def body():
        for number in range(count):
            yield kit.multipart(kit.file(pixels, SOPInstanceUID=f"1.2.3.4.{number}"), end=False)
        yield kit.multipart()

    async with kit.node() as client:
        tracemalloc.start()
        answer = await kit.post(client, body())
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert (answer.status_code, len(kit.told(answer)[0])) == (200, count)
    assert peak < 3 << 20  # 60 x 128 KiB are 7.5 MiB

"""STOW-RS in the app: every answer, as others read it."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from pydicom import Dataset

from service.keys import ApiKey, Scope, digest_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def kit(stow):
    return stow


async def test_all_taken(kit):
    async with kit.node() as client:
        answer = await kit.post(client, kit.multipart(*kit.files(3)))
        assert answer.status_code == 200
        assert kit.told(answer) == (["1.2.3.4.1", "1.2.3.4.2", "1.2.3.4.3"], {}, [])
        assert kit.left() == ["1.2.3.4.1", "1.2.3.4.2", "1.2.3.4.3"]
        found = Dataset.from_json(answer.text)
        assert {item.ReferencedSOPClassUID for item in found.ReferencedSOPSequence} == {"1.2.840.10008.5.1.4.1.1.2"}
        again = await kit.post(client, kit.multipart(*kit.files(3)))
        assert (again.status_code, kit.told(again)) == (200, kit.told(answer))


async def test_some_failed(kit):
    files = [
        *kit.files(1),
        b"words",
        kit.file(SOPInstanceUID="1.2.9", RescaleSlope="0"),
        kit.file(BodyPartExamined="HEAD"),
    ]
    async with kit.node() as client:
        answer = await kit.post(client, kit.multipart(*files))
    assert answer.status_code == 202
    assert kit.told(answer) == (["1.2.3.4.1"], {"1.2.9": 0xC000, "1.2.3.4.5": 0x0124}, [0xC000])
    assert kit.left() == ["1.2.3.4.1"]


async def test_all_failed(kit):
    async with kit.node() as client:
        answer = await kit.post(client, kit.multipart(b"words", kit.file(SOPClassUID="1.2.840.10008.5.1.4.1.1.4")))
    assert answer.status_code == 409
    assert kit.told(answer) == ([], {"1.2.3.4.5": 0x0122}, [0xC000])
    assert kit.left() == []


async def test_a_full_disk(kit):
    async with kit.node(reserve=1 << 60) as client:
        answer = await kit.post(client, kit.multipart(*kit.files(2)))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
    assert kit.told(answer) == ([], {"1.2.3.4.1": 0xA700, "1.2.3.4.2": 0xA700}, [])


async def test_a_defect_fails_one_instance_and_is_not_told(kit, monkeypatch):
    async with kit.node() as client:
        arrivals = client.app.state.pacs.node.arrivals
        take = arrivals.take

        def fail_once(*_, **__):
            monkeypatch.setattr(arrivals, "take", take)
            raise RuntimeError("Doe^Jane")

        monkeypatch.setattr(arrivals, "take", fail_once)
        answer = await kit.post(client, kit.multipart(*kit.files(2)))
    assert (answer.status_code, kit.told(answer)) == (202, (["1.2.3.4.2"], {"1.2.3.4.1": 0x0110}, []))
    assert "Doe" not in answer.text


@pytest.mark.parametrize(("study", "status"), [("1.2.3", 200), ("1.2.4", 409), ("..%2F..", 404), ("words", 409)])
async def test_the_study_in_the_path(kit, study, status):
    async with kit.node() as client:
        answer = await kit.post(client, kit.multipart(*kit.files(1)), study=study)
    assert answer.status_code == status
    if status == 409:
        assert kit.told(answer) == ([], {"1.2.3.4.1": 0xA900}, [])


async def test_a_body_that_is_one_instance(kit):
    async with kit.node() as client:
        answer = await kit.post(client, kit.files(1)[0], kind="application/dicom")
        assert (answer.status_code, kit.told(answer)) == (200, (["1.2.3.4.1"], {}, []))
        empty = await kit.post(client, b"", kind="application/dicom")
    assert (empty.status_code, kit.told(empty)) == (409, ([], {}, [0xC000]))


async def test_what_failed_is_looked_at_off_the_event_loop(kit, monkeypatch):
    threads = []

    def look(*_):
        with contextlib.suppress(RuntimeError):
            threads.append(asyncio.get_running_loop())

    monkeypatch.setattr("service.api.dicomweb.who", look)
    async with kit.node() as client:
        assert (await kit.post(client, kit.multipart(b"words"))).status_code == 409
    assert threads == []


async def test_keys_and_scopes(kit, tmp_path):
    path = tmp_path / "keys"
    keys = {"scanner": "reconstruct", "reader": "read"}
    lines = (ApiKey(name, frozenset({Scope(scope)}), digest_of(name.encode())).line() for name, scope in keys.items())
    path.write_text("\n".join(lines), encoding="utf-8")
    body = kit.multipart(*kit.files(1))
    async with kit.node(api_keys_file=path) as client:
        assert (await kit.post(client, body)).status_code == 401
        assert (await kit.post(client, body, authorization="Bearer nobody")).status_code == 401
        assert (await kit.post(client, body, authorization="Bearer reader")).status_code == 403
        assert kit.left() == []
        assert (await kit.post(client, body, authorization="Bearer scanner")).status_code == 200
        kept = client.app.state.pacs.node.arrivals.series("1.2.3.4").source("1.2.3.4.1").read_bytes()
    assert b"scanner " in kept[:600]


async def test_as_many_senders_as_associations(kit):
    began, go_on = asyncio.Event(), asyncio.Event()

    async def wait():
        began.set()
        await go_on.wait()

    async with kit.node(associations=1) as client:
        first = asyncio.create_task(kit.post(client, kit.Body(kit.multipart(*kit.files(2)), 1000, wait=wait)))
        await began.wait()
        second = await kit.post(client, kit.multipart(*kit.files(1)))
        assert (second.status_code, second.headers["retry-after"]) == (429, "10")
        go_on.set()
        assert (await first).status_code == 200
        assert (await kit.post(client, kit.multipart(*kit.files(1)))).status_code == 200


async def test_a_server_that_is_no_node(serve, kit):
    async with serve() as client:
        answer = await kit.post(client, kit.multipart(b"x"))
    assert answer.status_code == 503
    assert "CLEARSLICE_PACS" in answer.json()["detail"]

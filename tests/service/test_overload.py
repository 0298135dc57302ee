"""The whole app under pressure: full, too late, abandoned, starting, draining, stuck."""

from __future__ import annotations

import asyncio
import threading
import time

import httpx
import numpy as np
import pytest

pytestmark = pytest.mark.anyio

HU = {"rescale_slope": "1", "rescale_intercept": "0"}
IMAGE = np.zeros((4, 5), np.float32)


async def started(client):
    restorer = client.restorers["ct-tiny@1"]
    await asyncio.to_thread(restorer.started.wait, 20)
    return restorer


async def figure(client, line):
    text = (await client.http.get("/metrics")).text
    return next((float(row.rsplit(" ", 1)[1]) for row in text.splitlines() if row.startswith(line)), 0.0)


async def until(condition):
    while not condition():  # noqa: ASYNC110 - waits for the app's own state
        await asyncio.sleep(0)


async def test_more_requests_than_places_are_answered_429_at_once(serve, npy):
    async with serve(waits=True, max_requests=2) as client:
        accepted = [asyncio.ensure_future(client.post(npy(IMAGE), **HU)) for _ in range(2)]
        await until(lambda: client.engine._in_progress == 2)
        refused = await client.post(npy(IMAGE), **HU)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["type"] == "/problems/too-busy"
        (await started(client)).go_on.set()
        assert [answer.status_code for answer in await asyncio.gather(*accepted)] == [200, 200]
        assert (await client.post(npy(IMAGE), **HU)).status_code == 200
        assert await figure(client, 'clearslice_shed_total{place="service"}') == 1


async def test_a_full_queue_is_answered_429(serve, npy):
    async with serve(waits=True, max_queue=1) as client:
        running = asyncio.ensure_future(client.post(npy(IMAGE), **HU))
        restorer = await started(client)
        waiting = asyncio.ensure_future(client.post(npy(IMAGE), **HU))
        await until(lambda: client.engine._executor.waiting() == 1)
        assert await figure(client, "clearslice_queue_depth") == 1
        refused = await client.post(b"is not read", **HU)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert (await client.http.post("/v1/metrics", files={"image": b"is read"})).status_code != 429
        restorer.go_on.set()
        assert [answer.status_code for answer in await asyncio.gather(running, waiting)] == [200, 200]


async def test_a_deadline_is_answered_504_and_the_next_request_works(serve, npy):
    async with serve(waits=True) as client:
        late = await client.post(npy(IMAGE), headers={"x-request-timeout": "0.05"}, **HU)
        assert late.status_code == 504
        assert late.json()["type"] == "/problems/deadline-passed"
        (await started(client)).go_on.set()
        assert (await client.post(npy(IMAGE), **HU)).status_code == 200
        assert await figure(client, "clearslice_expired_total") == 1


async def test_the_servers_own_timeout_caps_the_clients(serve, npy):
    async with serve(waits=True, request_timeout=0.05) as client:
        late = await client.post(npy(IMAGE), headers={"x-request-timeout": "1000"}, **HU)
    assert late.status_code == 504


async def test_work_of_a_client_that_left_is_dropped(serve, npy):
    async with serve(waits=True) as client:
        running = asyncio.ensure_future(client.post(npy(IMAGE), **HU))
        restorer = await started(client)
        status = await leave_while_waiting(client, npy(IMAGE))
        assert status in (None, 499)
        assert client.engine._in_progress == 1
        assert not client.engine._executor.waiting()
        restorer.go_on.set()
        assert (await running).status_code == 200
        assert len(restorer.seen) == 1
        assert await figure(client, "clearslice_abandoned_total") == 1


async def leave_while_waiting(client, image):
    """Calls the app as a server does, and disconnects once the work is queued."""
    request = httpx.Request("POST", "http://localhost/v1/reconstructions", files={"image": image}, data=HU)
    body = request.read()
    sent: list[dict] = []
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive():
        for message in messages:
            return message
        await until(client.engine._executor.waiting)
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/v1/reconstructions",
        "raw_path": b"/v1/reconstructions",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "server": ("test", 80),
        "client": ("test", 1),
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
    }
    await client.app(scope, receive, send)
    return sent[0]["status"] if sent else None


async def test_liveness_answers_while_models_load(serve, npy):
    go_on = threading.Event()

    def slow(_):
        assert go_on.wait(20)

        class Loaded:
            precision, device, timings = "float32", "CPU:0", {}

            def __call__(self, batch):
                return batch

        return Loaded()

    async with serve(ready=False, load=slow) as client:
        assert (await client.http.get("/v2/health/live")).status_code == 200
        starting = await client.http.get("/v2/health/ready")
        assert (starting.status_code, starting.json()["reason"]) == (503, "models are being loaded")
        refused = await client.post(npy(IMAGE), **HU)
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        go_on.set()
        await client.app.state.starting
        assert (await client.http.get("/v2/health/ready")).status_code == 200
        assert (await client.post(npy(IMAGE), **HU)).status_code == 200


async def test_draining_finishes_what_was_accepted_and_refuses_the_rest(serve, npy):
    async with serve(waits=True) as client:
        accepted = asyncio.ensure_future(client.post(npy(IMAGE), **HU))
        restorer = await started(client)
        client.engine.drain()
        ready = await client.http.get("/v2/health/ready")
        refused = await client.post(npy(IMAGE), **HU)
        assert (ready.status_code, refused.status_code) == (503, 503)
        assert ready.json()["reason"] == "the service is shutting down"
        assert (await client.http.get("/v2/health/live")).status_code == 200
        restorer.go_on.set()
        assert (await accepted).status_code == 200


async def test_a_stuck_device_is_not_ready(serve, npy):
    async with serve(waits=True, stall_seconds=0.001) as client:
        stuck = asyncio.ensure_future(client.post(npy(IMAGE), **HU))
        restorer = await started(client)
        begin = time.monotonic()
        await until(lambda: time.monotonic() > begin + 0.002)
        answer = await client.http.get("/v2/health/ready")
        assert answer.status_code == 503
        assert "busy with one run" in answer.json()["reason"]
        restorer.go_on.set()
        await stuck
        assert (await client.http.get("/v2/health/ready")).status_code == 200

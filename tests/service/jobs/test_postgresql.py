"""Jobs are kept in order by PostgreSQL as by SQLite, over restarts; spools in one database know nothing of another."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from service.errors import UnsafeConfiguration

pytestmark = pytest.mark.anyio

ACCOUNT = "postgres"
"""PostgreSQL does not run as root."""


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """URL of a database of an own PostgreSQL on loopback, which is ended afterwards."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    if not found:
        pytest.skip("PostgreSQL (Debian: postgresql) is not here")
    programs = found[-1].parent
    folder = tmp_path_factory.mktemp("postgresql")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    account = []
    if os.getuid() == 0:
        account = ["runuser", "-u", ACCOUNT, "--"]
        shutil.chown(folder, ACCOUNT)
        for parent in folder.parents:  # pytest's folders are for their owner only
            if parent.stat().st_uid == 0 and parent.is_relative_to("/tmp/"):  # noqa: S108 - where pytest makes them
                parent.chmod(parent.stat().st_mode | 0o011)

    def run(*arguments):
        done = subprocess.run([*account, *map(str, arguments)], capture_output=True, text=True, check=False, cwd="/")
        assert done.returncode == 0, done.stdout + done.stderr

    data = folder / "data"
    run(programs / "initdb", "-D", data, "-A", "trust", "-U", "clearslice")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
    run(programs / "pg_ctl", "-D", data, "-o", options, "-l", folder / "log", "-w", "start")
    yield f"postgresql://clearslice@127.0.0.1:{port}/jobs"
    run(programs / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")


@pytest.mark.peer
async def test_jobs_go_on_over_a_restart(serving, kit, database, spool):
    _, gate, answer = kit.gated(2)
    async with serving(answer=answer, jobs_database=database) as client:
        job = (await kit.submit(client, kit.zipped(kit.series(5)))).json()
        await kit.until(lambda: len(list(spool.rglob("derived/*.dcm"))) == 2)
        gate.set()
    before = len(list(spool.rglob("derived/*.dcm")))
    async with serving(jobs_database=database) as client:
        assert (await kit.finished(client, job["id"]))["state"] == "done"
        assert len(client.restorers["ct-tiny@1"].seen) == 5 - before
    assert not (spool / "jobs.sqlite").exists()


@pytest.mark.peer
async def test_another_spool_in_the_same_database_is_another_world(serve, kit, database, tmp_path):
    _, gate, answer = kit.gated(0)
    async with serve(spool=tmp_path / "one", spool_reserve=0, answer=answer, jobs_database=database) as client:
        job = (await kit.submit(client, kit.zipped(kit.series(1)))).json()
        gate.set()
    async with serve(spool=tmp_path / "two", spool_reserve=0, jobs_database=database) as client:
        other = (await kit.submit(client, kit.zipped(kit.series(2)))).json()
        assert (await kit.finished(client, other["id"]))["state"] == "done"
        assert (await client.http.get(f"/v1/jobs/{job['id']}")).status_code == 404
    async with serve(spool=tmp_path / "one", spool_reserve=0, jobs_database=database) as client:
        assert (await kit.finished(client, job["id"]))["state"] == "done"


async def test_a_database_that_is_not_there_is_told_without_its_password(serving):
    with pytest.raises(UnsafeConfiguration, match="the database of jobs cannot be used") as refused:
        async with serving(jobs_database="postgresql://me:secret@127.0.0.1:9/jobs"):
            pass
    assert "secret" not in str(refused.value)
    async with serving():  # and the next one starts
        pass

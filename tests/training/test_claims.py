from __future__ import annotations

import subprocess
import sys
import threading

from training.claims import Claim


def test_one_claim_at_a_time(tmp_path):
    file = tmp_path / "claims" / "a"
    claim = Claim.take(file)
    assert claim is not None
    assert Claim.take(file) is None
    assert Claim.take(tmp_path / "claims" / "b") is not None
    claim.release()
    claim.release()
    with Claim.take(file):
        assert Claim.take(file) is None
    assert Claim.take(file) is not None


def test_waiting_ends_when_the_other_lets_go(tmp_path):
    first = Claim.wait(tmp_path / "a")
    got = threading.Event()

    def wait():
        with Claim.wait(tmp_path / "a"):
            got.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not got.is_set()
    first.release()
    assert got.wait(10)
    thread.join()


def test_a_killed_process_holds_nothing(tmp_path):
    code = (
        "import sys; from pathlib import Path; from training.claims import Claim;"
        f"claim = Claim.take(Path({str(tmp_path / 'a')!r})); print('taken', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"taken\n"
        assert Claim.take(tmp_path / "a") is None
        other.kill()
        other.wait(10)
        assert Claim.take(tmp_path / "a") is not None

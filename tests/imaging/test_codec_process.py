"""Workers that crash, hang, eat memory or lie disturb nobody but their own call."""

from __future__ import annotations

import importlib.util
import os
import signal
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from imaging import codec_process
from imaging.codec_process import CodecProcesses, memory_of
from imaging.errors import NotAnImage, TooLarge, UnsuitableImage

HERE = Path(__file__).parent
_spec = importlib.util.spec_from_file_location("hostile_codecs", HERE / "hostile_codecs.py")
hostile = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(hostile)


@pytest.fixture
def processes():
    """processes(workers=1, seconds=10) -> CodecProcesses over `hostile_codecs`."""
    made = []

    def make(workers=1, seconds=10.0):
        made.append(CodecProcesses(workers=workers, seconds=seconds, modules=["hostile_codecs"], folders=[HERE]))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="module")
def one():
    """One worker for many tests, which it has to survive or be replaced in."""
    made = CodecProcesses(workers=1, seconds=10.0, modules=["hostile_codecs"], folders=[HERE])
    yield made
    made.close()


def message(text):
    return struct.pack("<I", len(text)) + text


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -7,
        1.5,
        "text",
        b"",
        b"\0\xff" * 1000,
        np.arange(6, dtype=np.int16).reshape(2, 3),
        np.zeros((0, 3), np.float32),
        np.arange(12.0).reshape(3, 4).T,
        np.array(5, np.uint8),
    ],
)
def test_values_arrive_and_come_back_unchanged(one, value):
    back = one.run(hostile.echo, value, output_bytes=1 << 12)
    assert type(back) is type(value)
    if isinstance(value, np.ndarray):
        assert back.dtype == value.dtype
        np.testing.assert_array_equal(back, value)
    else:
        assert back == value


def test_several_results_are_a_tuple(one):
    left, right = one.run(hostile.both, np.ones(3), "mm", output_bytes=24)
    assert left.tolist() == [1, 1, 1]
    assert right == "mm"


def test_one_worker_serves_call_after_call(one):
    assert len({one.run(hostile.pid, output_bytes=0) for _ in range(5)}) == 1


def test_workers_are_fresh_programs_without_tensorflow_and_secrets(processes, monkeypatch):
    monkeypatch.setenv("CLEARSLICE_SECRET", "secret")
    pool = processes()
    assert pool.run(hostile.modules_with, "tensorflow", output_bytes=0) == ""
    assert pool.run(hostile.modules_with, "keras", output_bytes=0) == ""
    assert pool.run(hostile.seen, "CLEARSLICE_SECRET", output_bytes=0) is None


@pytest.mark.parametrize(
    ("function", "arguments", "told"),
    [
        (hostile.segmentation_fault, (), "crashed \\(Segmentation fault\\)"),
        (hostile.abort, (), "crashed \\(Aborted\\)"),
        (hostile.leave, (3,), "ended with status 3"),
        (hostile.leave, (0,), "ended with status 0"),
        (hostile.killed_always, (), "was ended by the system \\(signal 9\\)"),
        (hostile.answer_raw, (b"\xff\xff\xff\xff",), "answered with a header of"),
        (hostile.answer_raw, (message(b"[]"),), "answered with a header that cannot be read"),
        (hostile.answer_raw, (message(b'{"values": [{"array": ["|u1", [999999]]}]}'),), "999999 bytes where 64"),
        (hostile.answer_raw, (message(b'{"values": [{"array": ["|O", [1, 2]]}]}'),), "cannot be read"),
        (hostile.answer_raw, (message(b'{"values": []}'),), "the decoder refuses it"),
        (hostile.defect, (), "the decoder refuses it \\(KeyError\\)"),
    ],
)
def test_a_worker_that_fails_fails_its_own_call_only(one, function, arguments, told):
    with pytest.raises(NotAnImage, match=told) as failed:
        one.run(function, *arguments, output_bytes=64)
    assert "Doe" not in str(failed.value)
    assert one.run(hostile.echo, 5, output_bytes=0) == 5


def test_its_own_errors_come_back_as_they_are(one):
    with pytest.raises(UnsuitableImage, match=r"^three components, and one is needed$"):
        one.run(hostile.unsuitable, output_bytes=0)
    with pytest.raises(TooLarge, match=r"^more pixels than allowed$") as refused:
        one.run(hostile.too_large, output_bytes=0)
    assert refused.value.limit == "max_pixels"


def test_a_crash_does_not_disturb_a_call_beside_it(processes, tmp_path):
    pool = processes(workers=2, seconds=60)
    with ThreadPoolExecutor(2) as threads:
        hanging = threads.submit(pool.run, hostile.hang, str(tmp_path), output_bytes=0)
        pid = hostile.hanging_in(tmp_path)
        for _ in range(2):
            with pytest.raises(NotAnImage, match="Segmentation"):
                pool.run(hostile.segmentation_fault, output_bytes=0)
            assert pool.run(hostile.echo, 5, output_bytes=0) == 5
        assert not hanging.done()
        os.kill(pid, signal.SIGABRT)
        with pytest.raises(NotAnImage, match="Aborted"):
            hanging.result()
    assert not hostile.exists(pid)


def test_a_hang_ends_at_the_timeout(processes, tmp_path):
    pool = processes(seconds=0.5)
    pool.run(hostile.echo, 5, output_bytes=0)
    begin = time.monotonic()
    with pytest.raises(NotAnImage, match=r"took longer than 0\.5 s and was stopped"):
        pool.run(hostile.hang, str(tmp_path), output_bytes=0)
    assert 0.5 <= time.monotonic() - begin < 5
    assert pool.run(hostile.echo, 5, output_bytes=0) == 5


def test_memory_is_bounded_by_the_size_of_the_job(one):
    pool = one
    assert pool.run(hostile.fill, 16 << 20, output_bytes=0) == 16 << 20
    with pytest.raises(NotAnImage, match="needed more than the 32 MiB"):
        pool.run(hostile.fill, 512 << 20, output_bytes=0)
    # a larger image may take more, in the same worker
    pid = pool.pids()
    assert pool.run(hostile.fill, 512 << 20, output_bytes=40 << 20) == 512 << 20
    assert pool.pids() == pid
    assert memory_of(1 << 20, 8 << 20) == (32 + 3 + 128) << 20


def test_an_idle_worker_that_was_killed_is_replaced(processes):
    pool = processes()
    pid = pool.run(hostile.pid, output_bytes=0)
    os.kill(pid, signal.SIGKILL)
    assert pool.run(hostile.pid, output_bytes=0) != pid


def test_a_call_whose_worker_was_killed_from_outside_is_made_again(processes, tmp_path):
    flag = tmp_path / "flag"
    flag.touch()
    assert processes().run(hostile.killed_from_outside_once, str(flag), output_bytes=0) == "done"


def test_workers_write_no_files(one, tmp_path):
    with pytest.raises(NotAnImage, match="OSError"):
        one.run(hostile.write, str(tmp_path / "file"), output_bytes=0)


def test_no_more_workers_than_allowed(processes):
    pool = processes(workers=2)
    with ThreadPoolExecutor(6) as threads:
        found = {
            future.result() for future in [threads.submit(pool.run, hostile.pid, output_bytes=0) for _ in range(30)]
        }
    assert len(found) <= 2


def test_workers_started_ahead_end_on_close(processes):
    pool = processes(workers=2)
    pool.start()
    pool.start()
    pids = pool.pids()
    assert len(set(pids)) == 2
    assert all(hostile.exists(pid) for pid in pids)
    pool.close()
    assert not any(hostile.exists(pid) for pid in pids)
    with pytest.raises(RuntimeError):
        pool.run(hostile.echo, 5, output_bytes=0)
    pool.start()
    assert pool.pids() == []


def test_a_busy_worker_ends_after_its_call(processes, tmp_path):
    pool = processes(seconds=1)
    with ThreadPoolExecutor(1) as threads:
        hanging = threads.submit(pool.run, hostile.hang, str(tmp_path), output_bytes=0)
        pid = hostile.hanging_in(tmp_path)
        pool.close()
        with pytest.raises(NotAnImage, match="took longer"):
            hanging.result()
    assert not hostile.exists(pid)


def test_only_functions_of_the_listed_modules_are_called(processes):
    with pytest.raises(ValueError, match=r"os\.getpid is no function of|posix.getpid is no function of"):
        processes().run(os.getpid, output_bytes=0)
    with pytest.raises(ValueError, match="hostile_codecs"):
        codec_process.run(hostile.echo, 1, output_bytes=0)


@pytest.mark.parametrize(("workers", "seconds"), [(0, 1.0), (1, 0.0), (1, float("inf")), (1, float("nan"))])
def test_impossible_settings(workers, seconds):
    with pytest.raises(ValueError, match="at least one worker"):
        CodecProcesses(workers=workers, seconds=seconds)


def test_the_workers_of_the_process_survive_new_settings():
    from imaging.native_codecs import decode_rle  # noqa: PLC0415 - beside its only use

    frame = np.array([1, 64, *[0] * 14], "<u4").tobytes() + b"\x03abcd"

    def decoded():
        return codec_process.run(decode_rle, frame, 2, 2, 8, output_bytes=4).tobytes()

    codec_process.configure(workers=2, seconds=7.5)
    codec_process.start()
    assert decoded() == b"abcd"
    first = codec_process._current()
    codec_process.configure(workers=2, seconds=7.5)
    assert codec_process._current() is first
    codec_process.configure(workers=1, seconds=7.5)
    assert first.pids() == []
    assert decoded() == b"abcd"
    codec_process.close()
    assert decoded() == b"abcd"
    codec_process.configure(workers=os.cpu_count() or 1, seconds=codec_process.DEFAULT_SECONDS)

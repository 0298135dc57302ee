import os
import stat
import sys

import numpy as np
import pytest

from model_store.errors import RefusedVersion
from model_store.verify import REFUSED_STATUS, main, verify_in_fresh_process, verify_version


@pytest.fixture
def interpreter(tmp_path, monkeypatch):
    """Puts a shell script in Python's place; it runs with the arguments that Python would get."""

    def replace(script):
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(sys, "executable", str(path))

    return replace


def test_a_good_version_passes_in_every_precision(tiny_store):
    lines = verify_version(tiny_store("smooth").resolve("tiny-smooth"))
    assert [line.split(": ")[0] for line in lines] == ["float32 on CPU:0", "bfloat16 on CPU:0"]
    assert all("largest deviation" in line and "HU" in line for line in lines)


def test_publish_really_loads_the_model_in_another_process_and_reports_its_reason(
    store, tiny_export, tiny_draft, tmp_path, monkeypatch
):
    """The golden sample lies by 1 HU at one pixel. Here, in this process, TensorFlow may not even be imported."""
    export = tiny_export("offset")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    staged = tmp_path / "lying"
    staged.mkdir()
    for path in export.path.rglob("*"):
        target = staged / path.relative_to(export.path)
        target.mkdir(exist_ok=True) if path.is_dir() else target.write_bytes(path.read_bytes())
    with np.load(staged / "golden.npz") as arrays:
        image, restored = arrays["image"], arrays["restored"]
    restored[0, 11, 5, 0] += 1
    np.savez(staged / "golden.npz", image=image, restored=restored)
    message = r"^tiny-offset@1 in float32 .* allowed 0\.5; worst pixel row 11, column 5: "
    with pytest.raises(RefusedVersion, match=message):
        store.publish(staged, tiny_draft("offset"))
    assert [path.name for path in store.writable.iterdir()] == [".locks"]


def test_the_message_of_the_process_becomes_the_refusal(interpreter, tmp_path):
    interpreter(f'echo refused: "$@"; exit {REFUSED_STATUS}')
    with pytest.raises(RefusedVersion) as caught:
        verify_in_fresh_process(tmp_path / "1")
    assert str(caught.value) == f"refused: -P -m model_store.verify {tmp_path / '1'}"


def test_the_process_sees_no_gpu_and_finds_this_package_first(interpreter, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    interpreter(f'echo "$CUDA_VISIBLE_DEVICES $PYTHONPATH"; exit {REFUSED_STATUS}')
    with pytest.raises(RefusedVersion, match=rf"^-1 /.*{os.pathsep}/elsewhere$"):
        verify_in_fresh_process(tmp_path)


def test_a_crash_is_a_refusal_with_the_end_of_its_errors(interpreter, tmp_path):
    interpreter("head -c 5000 /dev/zero | tr '\\0' x >&2; echo 'out of memory' >&2; exit 134")
    with pytest.raises(RefusedVersion, match=r"crashed with status 134: x+out of memory$") as caught:
        verify_in_fresh_process(tmp_path)
    assert len(str(caught.value)) < 2100


def test_a_hang_is_a_refusal(interpreter, tmp_path, monkeypatch):
    monkeypatch.setattr("model_store.verify.TIMEOUT_S", 0.1)
    interpreter("exec tail -f /dev/null")
    with pytest.raises(RefusedVersion, match=r"did not end within 0\.1 s"):
        verify_in_fresh_process(tmp_path)


def test_success_is_silent(interpreter, tmp_path):
    interpreter("exit 0")
    verify_in_fresh_process(tmp_path)


def test_main_answers_with_a_status_and_one_line(version, capsys):
    (version.path / "saved_model.pb").write_bytes(b"another")
    assert main([str(version.path)]) == REFUSED_STATUS
    assert capsys.readouterr().out.startswith("ct-l2@1: the file 'saved_model.pb' was changed")

import threading

import pytest

from model_store.errors import RefusedVersion
from model_store.labels import Labels, StoreFile, lock, read_default, read_labels, write_whole


def test_no_file_means_no_labels_and_no_default(tmp_path):
    assert read_labels(tmp_path) == Labels()
    assert read_default(tmp_path) is None


def test_what_is_written_is_read_again(tmp_path):
    labels = Labels(labels={"stable": 3, "canary": None}, removed=(1, 2))
    write_whole(tmp_path / "labels.json", labels)
    write_whole(tmp_path / "store.json", StoreFile(default="ct-l2@stable"))
    assert read_labels(tmp_path) == labels
    assert read_default(tmp_path) == "ct-l2@stable"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.json", "store.json"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"labels": {"Stable": 1}}',
        '{"labels": {"7": 1}}',
        '{"labels": {"stable": 0}}',
        '{"labels": {"stable": "../1"}}',
        '{"schema_version": 2}',
        '{"other": 1}',
        "{" + " " * 1024 * 1024 + "}",
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path, text):
    (tmp_path / "ct-l2").mkdir()
    (tmp_path / "ct-l2" / "labels.json").write_text(text)
    with pytest.raises(RefusedVersion, match=r"^ct-l2/labels\.json is (damaged|larger)"):
        read_labels(tmp_path / "ct-l2")


def test_a_crash_before_the_rename_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "labels.json"
    write_whole(path, Labels(labels={"stable": 1}))

    def crash(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", crash)
        with pytest.raises(OSError, match="No space"):
            write_whole(path, Labels(labels={"stable": 2}))
    assert read_labels(tmp_path).labels == {"stable": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_never_sees_part_of_a_file(tmp_path):
    path = tmp_path / "labels.json"
    states = [Labels(labels={"stable": 1}), Labels(labels={f"label-{number}": 2 for number in range(500)})]
    write_whole(path, states[0])
    done, seen = threading.Event(), []

    def read():
        while not done.is_set():
            seen.append(read_labels(tmp_path) in states)

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(40):
        write_whole(path, states[turn % 2])
    done.set()
    reader.join()
    assert seen
    assert all(seen)


def test_a_lock_lets_one_thread_in_at_a_time(tmp_path):
    inside, most = [], []

    def work():
        for _ in range(20):
            with lock(tmp_path, "labels"):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 80

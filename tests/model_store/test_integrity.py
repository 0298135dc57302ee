import os
import shutil

import pytest

from model_store.errors import RefusedVersion
from model_store.integrity import verify_files

FILES = [
    "saved_model.pb",
    "variables/variables.index",
    "variables/variables.data-00000-of-00001",
    "golden.npz",
    "README.md",
]


def check(version):
    verify_files(version.path, version.manifest)


def test_a_version_as_published_passes(version):
    assert sorted(version.manifest.files) == sorted(FILES)
    check(version)


@pytest.mark.parametrize("name", FILES)
def test_one_changed_bit_is_found_in_every_file(version, name):
    path = version.path / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(RefusedVersion, match=rf"ct-l2@1: the file '{name}' was changed: SHA-256 [0-9a-f]{{12}}"):
        check(version)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_grew_is_found(version, name):
    with (version.path / name).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(RefusedVersion, match=f"'{name}' was changed"):
        check(version)


@pytest.mark.parametrize("name", FILES)
def test_every_missing_file_is_found(version, name):
    (version.path / name).unlink()
    with pytest.raises(RefusedVersion, match=f"ct-l2@1: the file '{name}' is missing"):
        check(version)


@pytest.mark.parametrize("name", ["extra.txt", ".DS_Store", "variables/extra", "assets.extra/warmup", "a/b/c"])
def test_every_file_that_was_not_published_is_found(version, name):
    path = version.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    with pytest.raises(RefusedVersion, match=f"ct-l2@1: the file '{name}' was not published"):
        check(version)


@pytest.mark.parametrize("name", ["assets", "variables/empty", "a/b"])
def test_an_empty_folder_was_not_published_either(version, name):
    (version.path / name).mkdir(parents=True)
    with pytest.raises(RefusedVersion, match="the empty folder"):
        check(version)


@pytest.mark.parametrize("name", FILES)
def test_a_symlink_is_refused_even_to_the_right_content(version, tmp_path, name):
    path = version.path / name
    shutil.move(path, tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RefusedVersion, match=f"'{name}' is a symlink"):
        check(version)


def test_a_symlinked_folder_is_refused_and_not_followed(version, tmp_path):
    shutil.move(version.path / "variables", tmp_path / "elsewhere")
    (version.path / "variables").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RefusedVersion, match="'variables' is a symlink"):
        check(version)


def test_a_version_folder_that_is_itself_a_symlink_is_refused(version, tmp_path):
    shutil.move(version.path, tmp_path / "elsewhere")
    version.path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RefusedVersion, match="'1' is a symlink"):
        check(version)


def test_a_pipe_is_refused_and_not_opened(version):
    os.mkfifo(version.path / "pipe")
    with pytest.raises(RefusedVersion, match="'pipe' is neither a file nor a folder"):
        check(version)


def test_a_folder_where_a_file_should_be_is_refused(version):
    (version.path / "README.md").unlink()
    (version.path / "README.md").mkdir()
    with pytest.raises(RefusedVersion, match=r"'README.md' is missing"):
        check(version)


@pytest.mark.parametrize("name", ["saved_model.pb", "golden.npz"])
def test_a_manifest_that_lists_no_graph_or_golden_sample_is_refused(version, name):
    files = {key: value for key, value in version.manifest.files.items() if key != name}
    (version.path / name).unlink()
    with pytest.raises(RefusedVersion, match=f"lists no '{name}'"):
        verify_files(version.path, version.manifest.model_copy(update={"files": files}))

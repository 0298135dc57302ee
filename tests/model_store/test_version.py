import hashlib

import pytest

from model_store.errors import RefusedVersion
from model_store.version import MAX_MANIFEST_BYTES, read_version


def test_a_version_knows_its_ref_and_manifest(version):
    assert version.ref == "ct-l2@1"
    assert read_version(version.path) == version
    assert version.manifest.files["saved_model.pb"] == hashlib.sha256(b"graph").hexdigest()


def test_one_digest_stands_for_all_weights(version):
    data, index = hashlib.sha256(b"weights").hexdigest(), hashlib.sha256(b"index").hexdigest()
    text = f"{data}  variables/variables.data-00000-of-00001\n{index}  variables/variables.index\n"
    assert version.weights_sha256 == hashlib.sha256(text.encode()).hexdigest()


def test_the_digest_changes_with_the_weights_and_with_nothing_else(store, staged, publish):
    before = publish(store)
    (staged / "README.md").write_text("another card")
    other_card = publish(store)
    (staged / "variables" / "variables.index").write_bytes(b"other")
    other_weights = publish(store)
    assert before.weights_sha256 == other_card.weights_sha256 != other_weights.weights_sha256


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "ct-l2/1/manifest.json cannot be read: No such file"),
        (b"", "ct-l2/1/manifest.json is not a manifest of this program: the file: Invalid JSON"),
        (b"{}", "name: Field required .and [0-9]+ more"),
        (b"[" * 100_000, "is not a manifest"),
        (b"\xff\xfe", "is not a manifest"),
        (b" " * (MAX_MANIFEST_BYTES + 1), f"larger than {MAX_MANIFEST_BYTES} bytes"),
    ],
)
def test_an_unusable_manifest_is_refused_with_its_place_and_reason(version, content, message):
    path = version.path / "manifest.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RefusedVersion, match=message):
        read_version(version.path)

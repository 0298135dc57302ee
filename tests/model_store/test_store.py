import shutil
import threading

import pytest

from model_store.errors import InvalidRef, RefusedVersion, StoreConflict, UnknownModel
from model_store.store import ModelStore


@pytest.fixture
def overlay(tmp_path, store, publish):
    """A writable store over a published one that holds ct-l2@1 (stable, the default) and ct-l2@2."""
    shipped = ModelStore(tmp_path / "published", published=None)
    publish(shipped)
    publish(shipped)
    shipped.promote("ct-l2", "stable", 1)
    shipped.set_default("ct-l2@stable")
    return ModelStore(store.writable, published=shipped.writable)


def snapshot(folder):
    return {path.relative_to(folder): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


class TestResolve:
    def test_a_version_by_its_number(self, store, publish):
        versions = [publish(store) for _ in range(3)]
        assert [version.ref for version in versions] == ["ct-l2@1", "ct-l2@2", "ct-l2@3"]
        assert store.versions("ct-l2") == [1, 2, 3]
        assert [store.resolve(version.ref) for version in versions] == versions

    def test_a_bare_name_is_the_highest_version_until_there_is_a_stable_one(self, store, publish):
        for _ in range(11):
            publish(store)
        assert store.resolve("ct-l2").version == 11  # as a number, not as text
        store.promote("ct-l2", "stable", 2)
        assert store.resolve("ct-l2").version == 2
        assert store.resolve("ct-l2@stable").version == 2

    def test_what_is_unknown_is_answered_with_what_there_is(self, store, publish):
        publish(store)
        publish(store, "relative-huber")
        store.promote("ct-l2", "canary", 1)
        for ref, message in {
            "ct-l1": "there is no model 'ct-l1'; there is ct-l2, relative-huber",
            "ct-l2@2": "ct-l2 has no version 2; it has 1",
            "ct-l2@stable": "ct-l2 has no label 'stable'; it has canary",
            "relative-huber@stable": "relative-huber has no label 'stable'; it has none",
        }.items():
            with pytest.raises(UnknownModel) as caught:
                store.resolve(ref)
            assert str(caught.value) == message

    def test_the_list_of_what_there_is_stays_short(self, store, publish):
        for number in range(23):
            publish(store, f"m{number:02}")
        with pytest.raises(UnknownModel, match=r"m00, m01, .*, m19 and 3 more$"):
            store.resolve("other")

    @pytest.mark.parametrize("ref", ["../../etc", "ct-l2/../ct-l2", "x" * 10_000, "'", "ct-l2@/etc/passwd"])
    @pytest.mark.usefixtures("version")
    def test_text_that_is_no_ref_never_reaches_the_disk(self, store, ref, monkeypatch):
        monkeypatch.setattr("pathlib.Path.is_dir", lambda _: pytest.fail("the disk was read"))
        with pytest.raises(InvalidRef):
            store.resolve(ref)
        with pytest.raises(InvalidRef):
            store.versions(ref)
        with pytest.raises(InvalidRef):
            store.labels(ref)

    def test_a_store_that_does_not_exist_is_empty(self, tmp_path):
        store = ModelStore(tmp_path / "none", published=tmp_path / "neither")
        assert store.names() == []
        assert store.versions("ct-l2") == []
        assert store.labels("ct-l2") == {}
        with pytest.raises(UnknownModel, match="there is none"):
            store.resolve("ct-l2")
        with pytest.raises(UnknownModel, match="names no default"):
            store.default_ref()
        assert not (tmp_path / "none").exists()

    def test_an_unreadable_manifest_is_refused_and_hides_no_other_version(self, store, publish):
        publish(store)
        second = publish(store)
        (second.path / "manifest.json").write_text("{}")
        with pytest.raises(RefusedVersion, match=r"ct-l2/2/manifest\.json"):
            store.resolve("ct-l2@2")
        assert store.resolve("ct-l2@1").version == 1

    @pytest.mark.parametrize("target", ["ct-l2/2", "ct-l1/1"])
    def test_a_copied_folder_does_not_become_another_version(self, store, version, target):
        shutil.copytree(version.path, store.writable / target)
        with pytest.raises(RefusedVersion, match="says that it is ct-l2@1"):
            store.resolve(target.replace("/", "@"))

    @pytest.mark.usefixtures("version")
    def test_damaged_labels_are_reported_and_hide_no_other_model(self, store, publish):
        publish(store, "other")
        (store.writable / "ct-l2" / "labels.json").write_text("{")
        with pytest.raises(RefusedVersion, match=r"ct-l2/labels\.json is damaged"):
            store.resolve("ct-l2@stable")
        assert store.names() == ["ct-l2", "other"]
        assert store.resolve("other").ref == "other@1"


class TestFolders:
    @pytest.mark.parametrize("name", ["01", "0", "-2", "2.0", "two", "٢", ".staging-2", "2 ", "1234567890"])
    def test_only_plain_integers_are_versions(self, store, version, name):
        shutil.copytree(version.path, version.path.with_name(name))
        assert store.versions("ct-l2") == [1]

    @pytest.mark.parametrize("missing", ["manifest.json", "saved_model.pb"])
    def test_a_half_copied_folder_is_no_version(self, store, version, missing):
        half = version.path.with_name("2")
        shutil.copytree(version.path, half)
        (half / missing).unlink()
        assert store.versions("ct-l2") == [1]
        with pytest.raises(UnknownModel, match="no version 2; it has 1"):
            store.resolve("ct-l2@2")

    def test_a_file_named_like_a_version_is_none(self, store, version):
        version.path.with_name("2").write_text("")
        assert store.versions("ct-l2") == [1]

    def test_names_are_folders_with_versions(self, store, version):
        for name in ("empty", ".hidden", "Upper", "lost+found"):
            (store.writable / name).mkdir()
        (store.writable / "file").write_text("")
        shutil.copytree(version.path.parent, store.writable / "CT")
        assert store.names() == ["ct-l2"]


class TestLabels:
    def test_a_label_moves_and_goes(self, store, publish):
        publish(store)
        publish(store)
        store.promote("ct-l2", "stable", 1)
        store.promote("ct-l2", "canary", 2)
        assert store.labels("ct-l2") == {"canary": 2, "stable": 1}
        store.promote("ct-l2", "stable", 2)
        assert store.resolve("ct-l2@stable").version == 2
        store.remove_label("ct-l2", "canary")
        assert store.labels("ct-l2") == {"stable": 2}
        with pytest.raises(UnknownModel, match="no label 'canary'; it has stable"):
            store.remove_label("ct-l2", "canary")

    @pytest.mark.usefixtures("version")
    def test_a_label_needs_a_version_and_a_name(self, store):
        with pytest.raises(UnknownModel, match="no version 2; it has 1"):
            store.promote("ct-l2", "stable", 2)
        with pytest.raises(UnknownModel, match="no version 1; it has none"):
            store.promote("ct-l1", "stable", 1)
        for label in ("7", "Stable", "a/b", ""):
            with pytest.raises(InvalidRef, match="no label"):
                store.promote("ct-l2", label, 1)
        assert store.labels("ct-l2") == {}
        assert not (store.writable / "ct-l1").exists()

    @pytest.mark.usefixtures("version")
    def test_concurrent_writers_lose_no_label(self, store):
        def work(number):
            for turn in range(5):
                store.promote("ct-l2", f"label-{number}-{turn}", 1)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(store.labels("ct-l2")) == 20

    @pytest.mark.usefixtures("version")
    def test_the_default_must_resolve(self, store):
        with pytest.raises(UnknownModel):
            store.set_default("ct-l2@stable")
        with pytest.raises(InvalidRef):
            store.set_default("../ct-l2")
        store.set_default("ct-l2")
        assert store.default_ref() == "ct-l2"


class TestOverlay:
    def test_writable_versions_follow_the_published_ones(self, overlay, publish, tmp_path):
        before = snapshot(tmp_path / "published")
        assert publish(overlay).ref == "ct-l2@3"
        assert overlay.versions("ct-l2") == [1, 2, 3]
        assert overlay.resolve("ct-l2").ref == "ct-l2@1"  # the shipped label
        assert overlay.resolve("ct-l2@3").path.is_relative_to(tmp_path / "store")
        overlay.promote("ct-l2", "stable", 3)
        overlay.promote("ct-l2", "canary", 2)
        overlay.set_default("ct-l2@canary")
        assert overlay.labels("ct-l2") == {"canary": 2, "stable": 3}
        assert overlay.default_ref() == "ct-l2@canary"
        assert snapshot(tmp_path / "published") == before

    def test_shipped_labels_and_default_hold_where_the_writable_store_says_nothing(self, overlay):
        assert overlay.names() == ["ct-l2"]
        assert overlay.labels("ct-l2") == {"stable": 1}
        assert overlay.default_ref() == "ct-l2@stable"
        assert not overlay.writable.exists()

    def test_a_shipped_label_can_be_hidden_and_set_again(self, overlay):
        overlay.remove_label("ct-l2", "stable")
        assert overlay.labels("ct-l2") == {}
        assert overlay.resolve("ct-l2").version == 2
        overlay.promote("ct-l2", "stable", 1)
        assert overlay.labels("ct-l2") == {"stable": 1}

    def test_a_shipped_version_is_not_removed(self, overlay):
        with pytest.raises(StoreConflict, match="ct-l2@2 ships with the project"):
            overlay.remove("ct-l2", 2)
        assert overlay.versions("ct-l2") == [1, 2]

    def test_without_a_writable_folder_every_change_says_what_to_set(self, tmp_path, overlay, publish):
        readonly = ModelStore(published=overlay.published)
        before = snapshot(tmp_path)
        for change in (
            lambda: publish(readonly),
            lambda: readonly.promote("ct-l2", "stable", 2),
            lambda: readonly.remove_label("ct-l2", "stable"),
            lambda: readonly.set_default("ct-l2@2"),
            lambda: readonly.remove("ct-l2", 2),
        ):
            with pytest.raises(StoreConflict, match=r"read-only.*--store DIR.*CLEARSLICE_STORE"):
                change()
        assert snapshot(tmp_path) == before

    def test_a_writable_version_wins_over_a_published_one_of_the_same_number(self, overlay, store, publish):
        publish(store)  # published alone, so it becomes 1 too, as when a later release ships that number
        assert overlay.resolve("ct-l2@1").path == store.writable / "ct-l2" / "1"
        overlay.promote("ct-l2", "stable", 2)
        overlay.remove("ct-l2", 1)
        assert overlay.versions("ct-l2") == [2]  # and never the other one that had its number


class TestRemove:
    def test_a_number_is_never_used_again(self, store, publish):
        publish(store)
        publish(store)
        store.remove("ct-l2", 2)
        assert store.versions("ct-l2") == [1]
        assert publish(store).ref == "ct-l2@3"
        store.remove("ct-l2", 1)
        store.remove("ct-l2", 3)
        assert store.names() == []
        assert publish(store).ref == "ct-l2@4"
        assert sorted(path.name for path in (store.writable / "ct-l2").iterdir()) == ["4", "labels.json"]

    def test_a_labelled_or_default_version_stays(self, store, publish):
        publish(store)
        publish(store)
        store.promote("ct-l2", "stable", 1)
        store.promote("ct-l2", "canary", 1)
        with pytest.raises(StoreConflict, match="ct-l2@1 is canary, stable; promote another"):
            store.remove("ct-l2", 1)
        store.set_default("ct-l2@2")
        with pytest.raises(StoreConflict, match="ct-l2@2 is the default model"):
            store.remove("ct-l2", 2)
        assert store.versions("ct-l2") == [1, 2]

    @pytest.mark.usefixtures("version")
    def test_what_is_not_there_cannot_be_removed(self, store):
        with pytest.raises(UnknownModel, match="no version 2; it has 1"):
            store.remove("ct-l2", 2)
        with pytest.raises(InvalidRef):
            store.remove("../ct-l2", 1)

    def test_a_damaged_version_can_be_removed(self, store, version):
        (version.path / "manifest.json").write_text("{}")
        store.remove("ct-l2", 1)
        assert store.versions("ct-l2") == []

    @pytest.mark.usefixtures("version")
    def test_a_crash_while_files_go_leaves_no_version_and_no_free_number(self, store, publish, monkeypatch):
        def crash(_):
            raise OSError(5, "Input/output error")

        with monkeypatch.context() as patched:
            patched.setattr("shutil.rmtree", crash)
            with pytest.raises(StoreConflict, match="Input/output error"):
                store.remove("ct-l2", 1)
        assert store.versions("ct-l2") == []
        assert publish(store).ref == "ct-l2@2"
        assert sorted(path.name for path in (store.writable / "ct-l2").iterdir()) == ["2", "labels.json"]

"""A series leaves a real Orthanc, and its reconstruction comes back into the same study, whole and valid."""

from __future__ import annotations

import shutil

import pytest

pytestmark = pytest.mark.orthanc
COUNT = 4


def validated(kit, source, found):
    """dciodvfy and dcentvfy find nothing that they do not find in the source."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy and dcentvfy (Debian package dicom3tools) are not installed")
    for uid, derived in found.items():
        assert kit.findings("dciodvfy", derived) <= kit.findings("dciodvfy", source.files[uid])
    before = kit.findings("dcentvfy", *source.files.values())
    assert kit.findings("dcentvfy", *source.files.values(), *found.values()) <= before


def test_by_c_store_and_back_by_c_store(orthanc, node, kit):
    source = kit.real_or_drawn("ge-head", COUNT, seed=1)
    ids = orthanc.upload(source.files.values())
    assert orthanc.store(ids).json()["FailedInstancesCount"] == 0
    (job,) = node.ended(source.series, count=COUNT)
    assert job["rule"] == "by dimse"
    assert job["deliveries"] == [{"peer": "orthanc", "state": "verified", "attempts": 0}]
    found = kit.check(orthanc, node, source, job["derived_series"])
    validated(kit, source, found)


def test_by_stow_and_back_by_stow(orthanc, node, kit):
    source = kit.real_or_drawn("lidc-0314", COUNT, seed=2)
    ids = orthanc.upload(source.files.values())
    answer = orthanc.stow(ids)
    assert answer.status_code == 200, answer.text
    (job,) = node.ended(source.series, count=COUNT)
    assert job["sender"] == "web"
    assert job["deliveries"] == [{"peer": "web", "state": "verified", "attempts": 0}]
    found = kit.check(orthanc, node, source, job["derived_series"])
    assert sorted(found.values()) == sorted(node.derived(source.series))  # to the last byte of the file
    validated(kit, source, found)


def test_sent_twice_nothing_is_made_twice(orthanc, node, kit):
    source = kit.drawn(3, seed=3)
    ids = orthanc.upload(source.files.values())
    orthanc.store(ids)
    before = node.ended(source.series, count=3)
    counts, changes = node.counts(), orthanc.ask("GET", "/changes?last").json()["Last"]
    assert orthanc.store(ids).json()["FailedInstancesCount"] == 0
    other = kit.drawn(1, seed=4)  # while this one comes back, a second one of the first would have
    orthanc.store(orthanc.upload(other.files.values()))
    node.ended(other.series, count=1)
    node.until(lambda: node.counts()["series"]["arriving"] == 0)
    assert node.jobs(source.series) == before
    assert node.counts()["instances"]["delivered"] == counts["instances"]["delivered"] + 1
    new = orthanc.ask("GET", f"/changes?since={changes}&limit=1000").json()["Changes"]
    assert len([each for each in new if each["ChangeType"] == "NewInstance"]) == 2


def test_late_slices_join_the_same_derived_series(orthanc, node, kit):
    source = kit.drawn(5, seed=5)
    ids = orthanc.upload(source.files.values())
    orthanc.store(ids[:3])
    (first,) = node.ended(source.series, count=3)
    before = {
        uid: orthanc.fetched(source.study, first["derived_series"], uid) for uid in derived_uids(node, kit, source)
    }
    assert len(before) == 3
    orthanc.store(ids)
    second, again = node.ended(source.series, count=5)
    assert again == first
    assert second["instances"] == 2
    assert second["joins"] == first["id"]
    assert second["derived_series"] == first["derived_series"]
    kit.check(orthanc, node, source, first["derived_series"])
    for uid, data in before.items():
        assert orthanc.fetched(source.study, first["derived_series"], uid) == data


def derived_uids(node, kit, source):
    return {str(kit.parsed(data).SOPInstanceUID) for data in node.derived(source.series)}


def test_our_own_output_comes_back_and_makes_no_loop(orthanc, node, kit):
    source = kit.drawn(2, seed=6)
    orthanc.store(orthanc.upload(source.files.values()))
    (job,) = node.ended(source.series, count=2)
    counts, studies = node.counts(), orthanc.series_of(source.study)
    derived = orthanc.find(job["derived_series"])
    assert orthanc.store([derived]).status_code != 200
    assert orthanc.stow([derived]).status_code != 200
    assert kit.send(node, node.derived(source.series)) == [0x0124, 0x0124]
    assert node.counts() == counts
    assert orthanc.series_of(source.study) == studies

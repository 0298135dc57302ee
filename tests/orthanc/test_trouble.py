"""A real Orthanc that is away, and one that has more of a series than it has sent."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.orthanc


@pytest.mark.parametrize(("way", "peer"), [("dimse", "orthanc"), ("web", "web")])
def test_away_for_the_whole_retry_window_and_requeued(orthanc, node, kit, way, peer):
    source = kit.drawn(3, seed=11 if way == "dimse" else 12)
    orthanc.upload(source.files.values())
    orthanc.stop()
    if way == "web":
        assert kit.stow(node, source.files.values()) == 200
    else:
        assert kit.send(node, source.files.values()) == [0x0000] * 3
    (job,) = node.ended(source.series, count=3)
    assert job["state"] == "dead"
    (told,) = job["deliveries"]
    assert (told["peer"], told["state"]) == (peer, "dead")
    assert told["attempts"] > 1
    assert "cannot be reached" in told["reason"]
    made = node.derived(source.series)
    assert job["id"] in node.command("status", "--state", "dead")
    orthanc.start()
    assert node.command("requeue", "--all") == "1 requeued\n"
    (job,) = node.ended(source.series, count=3)
    assert job["state"] == "delivered"
    assert job["deliveries"] == [{"peer": peer, "state": "verified", "attempts": 0}]
    assert node.derived(source.series) == made
    kit.check(orthanc, node, source, job["derived_series"])
    assert node.command("requeue", "--all") == "0 requeued\n"


def test_a_series_waits_for_what_orthanc_has_more_of_it(orthanc, node, kit):
    source = kit.drawn(4, seed=13)
    ids = orthanc.upload(source.files.values())
    assert orthanc.stow(ids[:3], server="counted").status_code == 200
    node.until(lambda: node.told("series_waits", series=source.series, missing=1))
    assert node.jobs(source.series) == []
    assert orthanc.stow(ids[3:], server="counted").status_code == 200
    (job,) = node.ended(source.series, count=4)
    assert job["rule"] == "counted"
    kit.check(orthanc, node, source, job["derived_series"])

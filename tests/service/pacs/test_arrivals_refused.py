"""What is not let in at the door, and what then stays of it: nothing, or the note of a hole in its series."""

from __future__ import annotations

import pytest
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage

from imaging.errors import NotAnImage, UnsuitableImage
from service.pacs.arrivals import Announced
from service.pacs.errors import ClassNotTaken, NoRoom, NotAsAnnounced, NotWanted

SOURCE = "series/1.2.3.4/source/1.2.3.4.5.dcm"
MARKER = "arriving/1.2.3.4"


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
@pytest.mark.parametrize(
    "uid",
    ["../../../x", "1.2..3.4.555", "1.2.3/../..5", ".1.2.3.4.567", "1.2.3.4.567.", "1.2.3.a.5678", "-1.2.3.4.567"],
)
def test_only_digits_and_dots_become_names(door, ct_slice, keyword, uid):
    node = door()
    placeholder = "9.8.7.6.5432"[: len(uid)]
    sent = ct_slice(**{keyword: placeholder})
    count = sent.count(placeholder.encode())
    assert count >= 1
    sent = sent.replace(placeholder.encode(), uid.encode())
    with pytest.raises(NotAnImage, match=rf"^{keyword} is missing or no UID \(digits and dots, at most 64\)$"):
        node.take(sent)
    assert node.left() == set()
    assert not list((node.folder / "series").iterdir())


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
def test_a_missing_uid(door, ct_slice, keyword):
    with pytest.raises(NotAnImage, match=f"{keyword} is missing or no UID"):
        door().take(ct_slice(drop=(keyword,)))


def test_folders_of_series_that_cannot_be(door):
    node = door()
    for uid in ("..", "", "1.2.3/4", "1" * 65):
        with pytest.raises(ValueError, match="a UID that is no file name"):
            node.arrivals.series(uid)
    series = node.arrivals.series("1" * 64)
    for wrong in (series.source, series.forgive, lambda uid: series.refuse(uid, "")):
        with pytest.raises(ValueError, match="a UID that is no file name"):
            wrong("../x")


@pytest.mark.parametrize(
    ("announced", "fits"),
    [
        (Announced(), True),
        (Announced(sop_class=CTImageStorage, uid="1.2.3.4.5", study="1.2.3"), True),
        (Announced(sop_class=EnhancedCTImageStorage), False),
        (Announced(uid="1.2.3.4.6"), False),
        (Announced(study="1.2.4"), False),
    ],
)
def test_what_was_announced(door, ct_slice, announced, fits):
    node = door()
    if fits:
        assert node.take(ct_slice(), announced=announced).kind == "new"
    else:
        with pytest.raises(NotAsAnnounced):
            node.take(ct_slice(), announced=announced)
        assert node.left() == set()


def test_a_low_disk_takes_nothing_more(door, ct_slice):
    with pytest.raises(NoRoom, match=f"the disk has less than the {1 << 60} bytes left that are to stay free"):
        door(node={"reserve": 1 << 60}).take(ct_slice())


def test_what_is_not_wanted(door, ct_slice):
    node = door(rules=[{"name": "chests", "body_part": "CHEST", "action": "keep"}])
    with pytest.raises(NotWanted, match="no rule fits"):
        node.take(ct_slice())
    with pytest.raises(ClassNotTaken):
        node.take(ct_slice(SOPClassUID="1.2.840.10008.5.1.4.1.1.4"))
    assert node.left() == set()
    assert node.take(ct_slice(BodyPartExamined="CHEST")).kind == "new"


def test_a_hole_is_noted_and_forgiven_when_the_instance_comes_in_order(door, ct_slice):
    node = door()
    with pytest.raises(UnsuitableImage) as error:
        node.take(ct_slice(RescaleSlope="0"))
    assert node.holes() == {"1.2.3.4.5": str(error.value)}
    assert node.left() == {MARKER, "series/1.2.3.4/refused/1.2.3.4.5.json"}
    assert node.take(ct_slice()).kind == "new"
    assert node.holes() == {}


def test_no_hole_where_a_sound_instance_of_the_uid_is_there(door, ct_slice):
    node = door()
    node.take(ct_slice())
    with pytest.raises(UnsuitableImage):
        node.take(ct_slice(RescaleSlope="0"))
    assert node.holes() == {}
    assert node.left() == {SOURCE, MARKER}


def test_localizers_and_multi_frame_instances_are_taken(door, ct_slice, enhanced):
    node = door(max_frames=4)
    assert node.take(ct_slice(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])).kind == "new"
    multi = enhanced.enhanced_file(enhanced.enhanced_ct(SOPInstanceUID="1.2.3.4.6"))
    assert node.take(multi).sop_class == EnhancedCTImageStorage

"""Files that are put into a folder are taken once they lie still; what is not taken is set aside with the reason."""

from __future__ import annotations

import pytest

from service.errors import InvalidConfiguration
from service.pacs import drop as drop_module

pytestmark = pytest.mark.anyio


@pytest.fixture
def drop(tmp_path, monkeypatch):
    monkeypatch.setattr(drop_module, "STILL_SECONDS", 0.0)
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


async def test_a_series_in_a_folder_is_restored_and_the_folder_empty(noding, kit, drop):
    (drop / "below").mkdir()
    for number, data in enumerate(kit.series(3)):
        (drop / "below" / f"{number}.dcm").write_bytes(data)
    async with noding(drop=str(drop)) as node:
        (told,) = await node.ended()
    assert (told["state"], told["instances"], told["sender"]) == ("delivered", 3, "FOLDER")
    assert not list(drop.rglob("*.dcm"))


async def test_what_is_not_taken_is_set_aside_with_the_reason(noding, kit, drop):
    (drop / "text.dcm").write_text("no image", encoding="utf-8")
    (drop / ".hidden").write_bytes(kit.series(1)[0])
    async with noding(drop=str(drop)) as node:
        await node.until((drop / ".refused" / "text.dcm.txt").is_file)
        assert await node.series() == []
    assert (drop / ".refused" / "text.dcm").read_text(encoding="utf-8") == "no image"
    assert "no DICM prefix" in (drop / ".refused" / "text.dcm.txt").read_text(encoding="utf-8")
    assert (drop / ".hidden").is_file()


async def test_a_file_that_still_grows_is_left_alone(noding, kit, drop):
    data = kit.series(1)[0]
    async with noding(drop=str(drop)) as node:
        for end in range(200, len(data), 200):
            (drop / "a.dcm").write_bytes(data[:end])
            await node.node._drop.take()
        (drop / "a.dcm").write_bytes(data)
        (told,) = await node.ended()
    assert told["state"] == "delivered"
    assert not (drop / ".refused").exists()


async def test_a_folder_that_is_not_there_is_told_at_the_start(noding, drop):
    with pytest.raises(InvalidConfiguration, match="there is no such folder"):
        async with noding(drop=str(drop / "other")):
            pass

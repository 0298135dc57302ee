"""Bad instances by C-STORE and by STOW: each fails for its reason, in bounded time and memory, and leaves nothing.

What can be left is the note of a hole, where the instance said to which series it belongs.
"""

from __future__ import annotations

import contextlib
import io
import json
import runpy
import time
import tracemalloc
import types
from pathlib import Path

import jpeg_ls
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openjpeg.utils import encode_array
from pydicom import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import build_context

from imaging.dicom_file import encoded_data_set
from imaging.errors import ImagingError
from service.pacs.errors import NotTaken
from service.pacs.statuses import comment_of, status_of

FILES = types.SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("bad_files.py"))))
SIDE = FILES.SIDE
SECONDS = 10.0
HOLE = {"arriving/1.2.3.4", "series/1.2.3.4/refused/1.2.3.4.5.json"}
CONFIGURATION = '[node]\nreserve = 0\nquiet_seconds = 3600\n\n[[rules]]\nname = "all"\naction = "keep"\n'
BOUNDARY = "a-boundary-that-no-file-has"


@pytest.fixture(scope="session")
def kit(scu, ct_slice, ct_dataset):
    """What bad files are made of; see `bad_files.py` beside this file."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    pixels = (1000 + 300 * np.sin(rows / 9) * np.cos(columns / 7)).astype(np.uint16)
    pixels += np.random.default_rng(3).integers(0, 50, (SIDE, SIDE)).astype(np.uint16)

    def as_file(dataset):
        file = io.BytesIO()
        dataset.save_as(file, enforce_file_format=True)
        return file.getvalue()

    made = types.SimpleNamespace(
        **vars(scu),
        ct=lambda **changes: ct_slice(pixels.astype(np.int16), **changes),
        dataset=ct_dataset,
        as_file=as_file,
        meta_of=lambda data: data[: len(data) - len(scu.data_set_of(data))],
        jls=lambda: bytes(jpeg_ls.encode_buffer(pixels.tobytes(), SIDE, SIDE, 1, 16)),
        j2k=lambda: bytes(encode_array(pixels, photometric_interpretation=2, use_mct=False, codec_format=0)),
    )
    made.compressed = lambda stream, syntax, **changes: FILES.compressed_file(made, stream, syntax, **changes)
    return made


def sent(data):
    """Transfer syntax and data set, as a sender would announce them."""
    if data[128:132] != b"DICM":
        return ExplicitVRLittleEndian, data + b"\0" * (len(data) % 2)
    syntax, encoded = encoded_data_set(data)
    return syntax, encoded + b"\0" * (len(encoded) % 2)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of pydicom, about the bad values while the file is made
class TestByCStore:
    @pytest.fixture
    def stored(self, door, receiving, kit):
        """(file) -> status, comment, what is left; after looking that a good one still gets in."""

        def store(data):
            node = door()
            syntax, encoded = sent(data)
            contexts = [build_context(CTImageStorage, each) for each in {syntax, ExplicitVRLittleEndian}]
            with receiving(node) as receiver, kit.calling(receiver.port, contexts=contexts) as association:
                begin = time.monotonic()
                status, comment = kit.store(association, encoded, syntax=syntax)
                assert time.monotonic() - begin < SECONDS
                left = node.left()
                assert not list((node.folder / "incoming").iterdir())
                good = kit.data_set_of(kit.ct(SOPInstanceUID="1.2.9", SeriesInstanceUID="1.2.8"))
                assert kit.store(association, good, uid="1.2.9") == (0x0000, None)
            return status, comment, left

        return store

    @pytest.mark.parametrize("name", FILES.BAD)
    def test_bad_ones(self, stored, kit, name):
        bad = FILES.BAD[name]
        status, comment, left = stored(bad.make(kit))
        if left or status == 0xC000:
            assert status == bad.status
            assert comment.startswith(bad.words[:64])
        else:  # what has no SOP class is another instance than was announced
            assert status == 0xA900
        assert left == (HOLE if bad.hole else set())
        assert len(comment) > 20

    @pytest.mark.parametrize("name", FILES.TAKEN)
    def test_odd_ones(self, stored, kit, name):
        status, comment, _ = stored(FILES.TAKEN[name](kit))
        assert (status, comment) == (0x0000, None)


@pytest.mark.anyio
@pytest.mark.filterwarnings("ignore::UserWarning")
class TestByStow:
    @pytest.fixture
    def stored(self, serve, tmp_path, kit):
        """(file) -> HTTP status, FailureReason, what is left; after looking that a good one still gets in."""
        path, spool = tmp_path / "pacs.toml", tmp_path / "spool"
        path.write_text(CONFIGURATION, encoding="ascii")

        def body(data):
            head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
            return head + data + f"\r\n--{BOUNDARY}--\r\n".encode()

        def left():
            files = (path for path in (spool / "pacs").rglob("*") if path.is_file())
            own = ("written", "present", "pseudonyms.key", "promised")  # the node's, of whatever comes
            return {str(path.relative_to(spool / "pacs")) for path in files if path.name not in own}

        async def store(data):
            kind = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
            async with serve(pacs=path, spool=spool, spool_reserve=0, max_upload_bytes=1 << 22) as client:

                async def post(one):
                    return await client.http.post(
                        "/dicom-web/studies", content=body(one), headers={"content-type": kind}
                    )

                begin = time.monotonic()
                answer = await post(data)
                assert time.monotonic() - begin < SECONDS
                found = left()
                assert (await post(kit.ct(SOPInstanceUID="1.2.9", SeriesInstanceUID="1.2.8"))).status_code == 200
            told = Dataset.from_json(json.loads(answer.text))
            failed = [*told.get("FailedSOPSequence", []), *told.get("OtherFailuresSequence", [])]
            return answer.status_code, [item.FailureReason for item in failed], found

        return store

    @pytest.mark.parametrize("name", {**FILES.BAD, **FILES.FILES_ONLY})
    async def test_bad_ones(self, stored, kit, name):
        bad = {**FILES.BAD, **FILES.FILES_ONLY}[name]
        status, reasons, left = await stored(bad.make(kit))
        assert (status, reasons) == (409, [bad.status])
        assert left == (HOLE if bad.hole else set())

    @pytest.mark.parametrize("name", FILES.TAKEN)
    async def test_odd_ones(self, stored, kit, name):
        status, reasons, _ = await stored(FILES.TAKEN[name](kit))
        assert (status, reasons) == (200, [])


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", {**FILES.BAD, **FILES.FILES_ONLY})
def test_reasons_name_what_is_wrong_and_no_patient(door, kit, name):
    bad = {**FILES.BAD, **FILES.FILES_ONLY}[name]
    with pytest.raises((ImagingError, NotTaken)) as error:
        door().take(bad.make(kit))
    assert str(error.value).startswith(bad.words)
    assert len(str(error.value)) > 20
    assert "Hans" not in str(error.value)
    assert status_of(error.value) == bad.status
    assert bad.words == "" or comment_of(error.value) == str(error.value)[:64]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "name", ["deflate bomb", "RLE of 65535", "JPEG-LS of 8192", "JPEG 2000 of 8192", "nested 500 deep"]
)
def test_bombs_cost_no_more_than_a_large_file(door, kit, name):
    node = door(max_upload_bytes=4 << 20)
    data = FILES.BAD[name].make(kit)
    tracemalloc.start()
    try:
        with pytest.raises(ImagingError):
            node.take(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20  # of 200 MiB, 8 GiB and 128 MiB


def test_positions_sizes_and_patients_of_one_series_are_no_matter_of_the_door(door, kit):
    """One instance knows nothing of the others: that is looked at when the series is complete."""
    node = door()
    for number, changes in enumerate(
        [{"PatientID": "P1"}, {"PatientID": "P2"}, {"StudyInstanceUID": "1.2.4"}, {"ImagePositionPatient": [0, 0, 0]}]
    ):
        assert node.take(kit.ct(SOPInstanceUID=f"1.2.9.{number}", **changes)).kind == "new"


@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6), st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_change_is_taken_or_fails_for_a_reason(doors, kit, changes, data):
    good = data.draw(st.sampled_from(doors.good))
    begin = len(kit.meta_of(good))
    damaged = bytearray(good)
    for place, byte in changes:
        damaged[begin + int(place**2 * (len(good) - begin))] = byte
    with contextlib.suppress(ImagingError, NotTaken):  # all else would be a defect
        doors.node.take(bytes(damaged))


@pytest.fixture
def doors(door, kit, enhanced):
    """A node, and good files."""
    good = [
        kit.ct(),
        kit.ct(syntax="implicit"),
        kit.compressed(kit.jls(), FILES.JPEGLSLossless),
        kit.compressed(kit.j2k(), FILES.JPEG2000Lossless),
        enhanced.enhanced_file(enhanced.enhanced_ct()),
    ]
    return types.SimpleNamespace(node=door(max_frames=8), good=good)

"""Uploads that are no series: refused whole, with the reason, and nothing of them is left."""

from __future__ import annotations

import gzip
import io
import stat
import struct
import tarfile
import zipfile

import numpy as np
import pytest

pytestmark = pytest.mark.anyio


def merged(*parts):
    """Several sets of files in one, under names of their own."""
    return {f"{index}/{name}": data for index, part in enumerate(parts) for name, data in part.items()}


def again(kit, **changes):
    return kit.series(1, SOPInstanceUID="1.2.3.4.99", **changes)


SERIES = {
    "patients": lambda kit: merged(kit.series(2), again(kit, PatientID="P2")),
    "studies": lambda kit: merged(kit.series(2), again(kit, StudyInstanceUID="1.2.4")),
    "series": lambda kit: merged(kit.series(2), again(kit, SeriesInstanceUID="1.2.3.5")),
    "twice": lambda kit: merged(kit.series(2), kit.series(1)),
    "burned in": lambda kit: kit.series(2, BurnedInAnnotation="YES"),
    "no uid": lambda kit: {
        name: data.replace(b"1.2.3.77777777", b"../../../etc/x")
        for name, data in kit.series(1, SeriesInstanceUID="1.2.3.77777777").items()
    },
    "localizers only": lambda kit: kit.series(2, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
    "other class": lambda kit: kit.series(1, SOPClassUID="1.2.840.10008.5.1.4.1.1.4"),
    "text only": lambda _: {"a.txt": b"words", "b.txt": b"words"},
    "truncated": lambda kit: {name: data[:300] for name, data in kit.series(1).items()},
    "nothing": lambda _: {},
}

REFUSALS = {
    "patients": (422, "unsuitable-image", "file 3 in the order of names: the upload mixes patients (PatientID)"),
    "studies": (422, "unsuitable-image", "mixes studies (StudyInstanceUID)"),
    "series": (422, "unsuitable-image", "mixes series (SeriesInstanceUID); a job is one series"),
    "twice": (422, "unsuitable-image", "is there twice"),
    "burned in": (422, "derivation-refused", "file 1 in the order of names: BurnedInAnnotation is YES"),
    "no uid": (422, "derivation-refused", "SeriesInstanceUID is missing or no UID"),
    "localizers only": (422, "unsuitable-image", "no CT image"),
    "other class": (422, "unsuitable-image", "no CT image"),
    "text only": (400, "not-an-image", "none of the 2 files is a DICOM file"),
    "truncated": (400, "not-an-image", "file 1 in the order of names"),
    "nothing": (422, "unsuitable-image", "no CT image"),
}


def encrypted(kit):
    data = bytearray(kit.zipped(kit.series(1)))
    place = data.index(b"PK\x01\x02")
    data[place + 8] |= 1
    return bytes(data)


def linked(_):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        info = zipfile.ZipInfo("link.dcm")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    return made.getvalue()


def overlapping(kit):
    """Two names of one compressed file."""
    data = kit.zipped({"a": b"\0" * 2_000_000})
    place = data.index(b"PK\x01\x02")
    end = data.index(b"PK\x05\x06")
    record = data[place:end]
    names = [record[:46] + bytes([letter]) + record[47:] for letter in b"abcdefgh"]
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 8, 8, 8 * len(record), place, 0)
    return data[:place] + b"".join(names) + tail


def named_twice(_):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("same", b"x")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("same", b"x")
    return made.getvalue()


def tar_of(*members):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for kind, name, data in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return made.getvalue()


def huge_header(_):
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 1 << 40
    return info.tobuf(tarfile.GNU_FORMAT) + b"\0" * 1024


def tar_header(name, kind=tarfile.REGTYPE, size=0, data=b"", pax=None):
    """One entry; `pax` headers before it."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    padded = data + b"\0" * (-len(data) % 512)
    if pax is None:
        return info.tobuf(tarfile.GNU_FORMAT) + padded
    info.pax_headers = pax
    return info.tobuf(tarfile.PAX_FORMAT) + padded


def negative_size(_):
    """A folder of negative size, which would make room for everything after it."""
    return tar_header("x", tarfile.DIRTYPE, -(1 << 60)) + tar_header("a", data=b"x", size=1) + b"\0" * 1024


def sparse_map(_):
    """A map of holes that goes on for as long as there is data."""
    pax = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "a", "GNU.sparse.realsize": "1"}
    lines = b"999999\n" + b"0\n" * 100_000
    return gzip.compress(tar_header("a", size=len(lines), data=lines, pax=pax) + b"\0" * 1024)


def global_headers(_):
    """Headers for all files, which are kept for as long as the archive is read."""
    return b"".join(
        tarfile.TarInfo.create_pax_global_header({f"k{number}": "x" * 1000}) for number in range(100)
    ) + tar_header("a", size=1, data=b"x")


def long_names(_):
    return tar_header("n" * 100_000, size=1, data=b"x") + b"\0" * 1024


def headers_without_end(_):
    """Empty files, each with an extended header as large as may be."""
    one = tarfile.TarInfo._create_pax_generic_header({"comment": "x" * 60_000}, tarfile.XHDTYPE, "utf-8")
    return gzip.compress(b"".join(one + tar_header(str(number)) for number in range(2000)), 1)


def headers_of_nothing(_):
    """Extended headers, one after the other, that no file follows."""
    return gzip.compress(tarfile.TarInfo._create_pax_generic_header({"comment": "x"}, tarfile.XHDTYPE, "utf-8") * 5000)


ARCHIVES = {
    "tar of negative size": (negative_size, 400, "not-an-image", "negative size"),
    "tar of holes": (sparse_map, 415, "unsupported-format", "sparse"),
    "tar of global headers": (global_headers, 415, "unsupported-format", "a header for all of its files"),
    "tar of long names": (long_names, 400, "not-an-image", "no file and has a size"),
    "tar of headers": (headers_without_end, 413, "image-too-large", "bytes together"),
    "tar of headers only": (headers_of_nothing, 400, "not-an-image", "tar file is broken"),
    "empty": (lambda _: b"", 400, "malformed-upload", "empty"),
    "text": (lambda _: b"no archive at all", 400, "not-an-image", "none of the 1 files"),
    "cut off": (lambda kit: kit.zipped(kit.series(2))[:-40], 400, "not-an-image", ""),
    "encrypted": (encrypted, 415, "unsupported-format", "encrypted"),
    "link": (linked, 422, "unsuitable-image", "no CT image"),
    "named twice": (named_twice, 400, "not-an-image", "twice"),
    "bomb": (lambda kit: kit.zipped({"a": b"\0" * 3_000_000}), 413, "image-too-large", "CLEARSLICE_MAX_UPLOAD_BYTES"),
    "bombs": (
        lambda kit: kit.zipped({str(number): b"\0" * 900_000 for number in range(9)}),
        413,
        "image-too-large",
        "CLEARSLICE_MAX_JOB_BYTES",
    ),
    "overlapping": (overlapping, 413, "image-too-large", "more than"),
    "tiny files": (
        lambda kit: kit.zipped({f"{number:06d}": b"" for number in range(10_001)}),
        413,
        "image-too-large",
        "more than 10000 files",
    ),
    "lzma": (
        lambda kit: kit.zipped(kit.series(1), method=zipfile.ZIP_LZMA),
        415,
        "unsupported-format",
        "only deflate",
    ),
    "tar cut off": (lambda kit: kit.tarred(kit.series(2))[:2000], 400, "not-an-image", "tar file is broken"),
    "gz cut off": (lambda kit: kit.tarred(kit.series(2), mode="w:gz")[:-400], 400, "not-an-image", "broken"),
    "tar named twice": (
        lambda _: tar_of((tarfile.REGTYPE, "a", b"x"), (tarfile.REGTYPE, "a", b"y")),
        400,
        "not-an-image",
        "twice",
    ),
    "tar links": (
        lambda _: tar_of((tarfile.SYMTYPE, "a", b""), (tarfile.LNKTYPE, "b", b""), (tarfile.FIFOTYPE, "c", b"")),
        422,
        "unsuitable-image",
        "no CT image",
    ),
    "tar bomb": (
        lambda kit: kit.tarred({"a": b"\0" * 3_000_000}, mode="w:gz"),
        413,
        "image-too-large",
        "CLEARSLICE_MAX_UPLOAD_BYTES",
    ),
    "tar of tiny files": (
        lambda kit: kit.tarred({f"{number:06d}": b"" for number in range(10_001)}, mode="w:gz"),
        413,
        "image-too-large",
        "more than 10000 files",
    ),
    "tar header": (huge_header, 400, "not-an-image", "an entry that is no file and has a size"),
}


@pytest.fixture
def refused(serving, kit, spool):
    """(archive, fields) -> status and problem, after looking that nothing of it is left and a good one still works."""

    async def post(archive, **fields):
        async with serving(max_upload_bytes=1_000_000, max_job_bytes=4_000_000) as client:
            answer = await kit.submit(client, archive, **fields)
            assert not list((spool / "incoming").iterdir())
            assert not list((spool / "jobs").iterdir())
            good = await kit.submit(client, kit.zipped(kit.series(1)))
            assert (await kit.finished(client, good.json()["id"]))["state"] == "done"
        assert answer.headers["content-type"] == "application/problem+json"
        return answer.status_code, answer.json()

    return post


@pytest.mark.parametrize("name", SERIES)
async def test_what_is_no_single_series_is_refused(refused, kit, name):
    status, problem = await refused(kit.zipped(SERIES[name](kit)))
    expected, slug, words = REFUSALS[name]
    assert (status, problem["type"]) == (expected, f"/problems/{slug}")
    assert words in problem["detail"]


@pytest.mark.parametrize("name", ARCHIVES)
async def test_what_is_no_sound_archive_is_refused(refused, kit, name):
    make, expected, slug, words = ARCHIVES[name]
    status, problem = await refused(make(kit))
    assert (status, problem["type"]) == (expected, f"/problems/{slug}"), problem
    assert words in problem["detail"]


async def test_files_of_a_tar_are_counted_in_its_order(refused, kit):
    _, problem = await refused(kit.tarred({"b": kit.series(1)["IM001"], "a": b"\0" * 128 + b"DICM" + b"\0" * 20}))
    assert problem["detail"].startswith("file 2 in the order of the tar file: ")


async def test_names_are_no_paths(serving, kit, tmp_path):
    names = ["../../escaped", "/absolute", "C:\\windows", "a/../../b", "M\xfcller/\u65e5\u672c", "x" * 250]
    files = dict(zip(names, kit.series(len(names)).values(), strict=True))
    files |= {"__MACOSX/._junk": b"junk", ".DS_Store": b"junk"}
    before = {path for path in tmp_path.rglob("*") if "spool" not in path.parts}
    async with serving() as client:
        for archive in (kit.zipped(files), kit.tarred(files)):
            job = await kit.finished(client, (await kit.submit(client, archive)).json()["id"])
            assert (job["state"], job["progress"]["total"], job["left_out"]) == ("done", len(names), {})
    assert {path for path in tmp_path.rglob("*") if "spool" not in path.parts} == before


@pytest.mark.parametrize(
    ("fields", "status", "slug"),
    [
        ({"strength": "2"}, 422, "invalid-field"),
        ({"strength": "nan"}, 422, "invalid-field"),
        ({"model": "../../etc"}, 400, "invalid-model-ref"),
        ({"model": "none"}, 404, "unknown-model"),
        ({"model": "gray-tiny"}, 422, "unit-mismatch"),
        ({"outputs": "restored"}, 400, "malformed-upload"),
    ],
)
async def test_fields_are_checked(refused, kit, fields, status, slug):
    found, problem = await refused(kit.zipped(kit.series(2)), **fields)
    assert (found, problem["type"]) == (status, f"/problems/{slug}")


async def test_an_upload_beyond_the_limit_is_cut_off(refused):
    status, problem = await refused(np.random.default_rng(1).bytes(5_000_000))
    assert (status, problem["setting"]) == (413, "CLEARSLICE_MAX_JOB_BYTES")


async def test_a_broken_slice_is_found_when_its_turn_comes(serving, kit):
    files = kit.series(4)
    files["IM003"] = files["IM003"][:-100]
    async with serving() as client:
        answer = await kit.submit(client, kit.zipped(files))
        assert answer.status_code == 202
        job = await kit.finished(client, answer.json()["id"])
    assert job["problem"]["type"] == "/problems/not-an-image"
    assert job["problem"]["detail"].startswith("instance 3 of 4: ")

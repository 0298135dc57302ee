"""POST /v1/images: what a file holds, its noise, what `auto` would choose, and the pixels themselves."""

from __future__ import annotations

import email
import io
import json
import re
import threading
from pathlib import Path

import jpeg_ls
import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from imaging import formats
from imaging.image import AIR_HU, Rescale
from imaging.limits import Limits
from imaging.noise.reading import read_noise
from model_store.evidence import Evidence, Row
from service.keys import ApiKey, Scope, digest_of
from service.turns import NEVER, Turn

pytestmark = pytest.mark.anyio

HU = {"rescale_slope": "1", "rescale_intercept": "0"}
JSON, MIXED, NPY = (
    {"accept": media_type} for media_type in ("application/json", "multipart/mixed", "application/x-npy")
)
LIMITS = Limits(max_bytes=1 << 24, max_pixels=1 << 20, max_frames=40)
DRAWN = re.compile(r"[0-9a-f]{32}")
"""An id or a boundary, which has four digits of any year one day."""

GRAY = np.random.default_rng(2).integers(0, 255, (9, 11)).astype(np.uint8)


def written(write):
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def pixels_of(data, **rescale):
    return [image.pixels for image in formats.decode(data, limits=LIMITS, **rescale)]


def parts_of(answer):
    kind = answer.headers["content-type"].encode()
    return email.message_from_bytes(b"Content-Type: " + kind + b"\r\n\r\n" + answer.content).get_payload()


@pytest.fixture
def evidence(published):
    """Speaks for ct-tiny@1, on images in HU."""
    row = Row(unit="HU", degradation="noise", level=30, correlation=0, impulses=0, scores={"ct-tiny@1": 30.0})
    published.set_evidence(
        Evidence(metric="PSNR", negligible=0.1, defaults={"HU": "ct-tiny@1"}, rows=(row,), images=1, patients=1)
    )


# what is said


@pytest.mark.usefixtures("evidence")
async def test_a_slice_is_described(serve, ct_slice):
    stored = np.random.default_rng(0).normal(1064, 30, (64, 80)).astype(np.int16)
    file = ct_slice(
        stored,
        WindowCenter=["40", "-600"],
        WindowWidth=["400", "1500"],
        WindowCenterWidthExplanation=["SOFT ", "LUNG"],
        PixelSpacing=["0.7", "0.8"],
    )
    async with serve() as client:
        answer = await client.look(file)
        assert client.restorers["ct-tiny@1"].seen == []
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert (answer.headers["cache-control"], answer.headers["vary"]) == ("no-store", "Accept")
    assert (answer.headers["clearslice-unit"], answer.headers["clearslice-frames"]) == ("HU", "1")
    said = answer.json()
    noise, choice = said.pop("noise"), said.pop("auto")
    assert said == {
        "format": "dicom",
        "unit": "HU",
        "frames": 1,
        "rows": 64,
        "columns": 80,
        "spacing": [0.7, 0.8],
        "windows": [
            {"center": 40, "width": 400, "explanation": "SOFT"},
            {"center": -600, "width": 1500, "explanation": "LUNG"},
        ],
        "instance": {
            "sop_instance_uid": "1.2.3.4.5",
            "series_instance_uid": "1.2.3.4",
            "instance_number": 7,
            "positions": [35.5],
            "orientation": [1, 0, 0, 0, 1, 0],
            "derived": False,
            "modality": "CT",
            "kernel": "B31f",
            "slice_thickness": 5,
        },
        "request_id": answer.headers["x-request-id"],
    }
    reading = read_noise(pixels_of(file), "HU")
    assert noise == {"level": reading.level, "correlation": reading.correlation, "impulses": reading.impulses}
    assert noise["level"] == pytest.approx(30, rel=0.1)
    assert choice["model"] == "ct-tiny@1"
    assert f"noise of {reading.level:.1f} HU" in choice["reason"]


async def test_nothing_identifies_the_patient(serve, ct_slice):
    async with serve() as client:
        for headers in (JSON, MIXED):
            answer = await client.look(ct_slice(PatientComments="a rare name"), headers=headers)
            told = DRAWN.sub("", answer.text + str(answer.headers))
            for identifying in ("ller", "Hans", "P1", "1950", "2025", "Doe", "Hospital", "A1", "Thorax", "rare", "SN1"):
                assert identifying not in told


@pytest.mark.usefixtures("evidence")
async def test_the_noise_is_read_once_and_only_when_it_is_asked(serve, ct_slice, monkeypatch):
    read = []
    for module in ("service.looking", "service.auto"):
        monkeypatch.setattr(f"{module}.read_noise", lambda *args: read.append(args) or read_noise(*args))
    async with serve() as client:
        for off in ("false", "No", "0", "none"):
            answer = await client.look(ct_slice(), noise=off)
            assert (answer.json()["noise"], answer.json()["auto"]) == (None, None)
        await client.look(ct_slice(), headers=NPY)
        assert read == []
        for on in ("true", "YES", "1", "all", ""):
            assert (await client.look(ct_slice(), noise=on)).json()["auto"]["model"] == "ct-tiny@1"
        assert len(read) == 5
        wrong = await client.look(ct_slice(), noise="maybe")
    assert (wrong.status_code, wrong.json()["fields"]) == (422, {"noise": "must be true or false, not 'maybe'"})


async def test_no_model_to_choose_is_no_failure(serve, published, ct_slice, npy):
    async with serve() as client:
        without = (await client.look(ct_slice())).json()["auto"]
        (published.writable / "evidence.json").write_text("damaged")
        client.engine.store.forget()
        damaged = (await client.look(ct_slice())).json()["auto"]
        relative = (await client.look(npy(GRAY))).json()["auto"]
    assert [each["model"] for each in (without, damaged, relative)] == [None] * 3
    assert "clearslice evidence" in without["reason"]
    assert "evidence.json" in damaged["reason"]


@pytest.mark.usefixtures("evidence")
async def test_noise_that_cannot_be_told_is_null(serve, ct_slice):
    async with serve() as client:
        said = (await client.look(ct_slice(np.full((3, 3), 1024, np.int16)))).json()
    assert said["noise"] == {"level": None, "correlation": None, "impulses": 0}
    assert said["auto"]["model"] == "ct-tiny@1"


async def test_what_no_model_would_be_given_can_be_seen(serve, ct_slice):
    file = ct_slice(BurnedInAnnotation="YES", drop=("StudyInstanceUID",))
    async with serve() as client:
        assert (await client.post(file)).json()["type"] == "/problems/derivation-refused"
        assert (await client.look(file)).status_code == 200


# pixels


@pytest.fixture
def files(ct_slice, ct_dataset, enhanced, npy):
    """name -> file, form fields, what its decoding needs."""
    stored = np.random.default_rng(7).integers(-200, 1500, (40, 48)).astype(np.int16)
    stored[:4] = -3000  # padding
    stack = enhanced.stack_of(3, (40, 48))
    streams = [bytes(jpeg_ls.encode_array(frame)) for frame in stack]
    made = {"dicom": ct_slice(stored), "dicom big": ct_slice(stored, syntax="big", RescaleSlope="0.3")}
    for syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless):
        dataset = ct_dataset(stored)
        dataset.compress(syntax, generate_instance_uid=False)
        made[syntax.name] = written(lambda out, ds=dataset: pydicom.dcmwrite(out, ds, enforce_file_format=True))
    made["a scanner"] = Path(str(get_testdata_file("CT_small.dcm", download=False))).read_bytes()
    made["enhanced"] = enhanced.enhanced_file(enhanced.enhanced_ct())
    compressed = enhanced.compressed(enhanced.enhanced_ct(stack, bits=12), streams, JPEGLSLossless)
    made["enhanced compressed"] = enhanced.enhanced_file(compressed)
    made["png"] = written(lambda out: Image.fromarray(GRAY).save(out, format="PNG"))
    made["tiff"] = written(lambda out: tifffile.imwrite(out, GRAY / np.float32(300), metadata=None))
    made["npy"] = npy(np.stack([GRAY, GRAY[::-1]]))
    made["stack of one"] = npy(GRAY[np.newaxis])
    rescaled = {"png in HU": written(lambda out: Image.fromarray(GRAY).save(out, format="PNG"))}
    rescaled["tiff in HU"] = written(lambda out: tifffile.imwrite(out, GRAY / np.float32(3), metadata=None))
    rescale = {"rescale_slope": "10.5", "rescale_intercept": "-1024"}
    return {name: (file, {}, {}) for name, file in made.items()} | {
        name: (file, rescale, {"rescale": Rescale(10.5, -1024)}) for name, file in rescaled.items()
    }


async def test_the_pixels_are_those_that_a_model_would_get(serve, files):
    async with serve() as client:
        for name, (file, fields, rescale) in files.items():
            expected = pixels_of(file, **rescale)
            bare = await client.look(file, headers=NPY, **fields)
            mixed = await client.look(file, headers=MIXED, noise="false", **fields)
            assert bare.status_code == mixed.status_code == 200, (name, bare.text)
            assert bare.headers["content-type"] == "application/x-npy"
            assert bare.headers["clearslice-frames"] == str(len(expected))
            assert bare.headers["cache-control"] == mixed.headers["cache-control"] == "no-store"
            array = np.load(io.BytesIO(bare.content))
            assert array.dtype == np.dtype("<f4")
            assert array.ndim == (3 if len(expected) > 1 else 2), name
            np.testing.assert_array_equal(array, np.squeeze(np.stack(expected), 0) if len(expected) == 1 else expected)
            document, part = parts_of(mixed)
            assert (document.get_content_type(), part.get_content_type()) == ("application/json", "application/x-npy")
            assert part.get_payload(decode=True) == bare.content, name
            said = json.loads(document.get_payload(decode=True))
            assert (said["frames"], said["rows"], said["columns"]) == (len(expected), *expected[0].shape)
            assert said["unit"] == bare.headers["clearslice-unit"] == ("relative" if _relative(said, fields) else "HU")
            assert said["spacing"] is None or said["format"] == "dicom"
            assert (said["instance"] is None) is (said["format"] != "dicom")


def _relative(said, fields):
    return said["format"] != "dicom" and not fields


async def test_padding_is_air(serve, files):
    async with serve() as client:
        answer = await client.look(files["dicom"][0], headers=NPY)
    assert np.unique(np.load(io.BytesIO(answer.content))[:4]).tolist() == [AIR_HU]


async def test_enhanced_ct_is_described_by_its_first_frame_and_the_places_of_all(serve, enhanced):
    source = enhanced.enhanced_ct(InstanceNumber="3")
    for number, groups in enumerate(source.PerFrameFunctionalGroupsSequence):
        place = Dataset()
        place.ImagePositionPatient = ["0", "0", str(10 + number)]
        groups.PlanePositionSequence = Sequence([place])
    odd = enhanced.enhanced_ct()
    odd.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence = Sequence([Dataset(), Dataset()])
    async with serve() as client:
        said = (await client.look(enhanced.enhanced_file(source), noise="false")).json()
        strange = await client.look(enhanced.enhanced_file(odd), noise="false")
    assert (said["frames"], said["spacing"]) == (3, [0.7, 0.7])
    assert said["windows"] == [{"center": 40, "width": 400, "explanation": None}]
    told = said["instance"]
    assert (told["kernel"], told["slice_thickness"], told["positions"]) == ("B31f", 5, [10, 11, 12])
    assert (told["instance_number"], told["derived"]) == (3, False)
    assert strange.json()["windows"] == []


async def test_the_noise_of_a_stack_is_that_of_its_frames(serve, npy):
    stack = np.random.default_rng(0).normal(40, 25, (3, 64, 64)).astype(np.float32)
    async with serve() as client:
        said = (await client.look(npy(stack), headers=JSON, **HU)).json()
    assert said["noise"]["level"] == pytest.approx(25, rel=0.1)


# how it is asked


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("text/html, */*;q=0.1", "application/json"),
        ("multipart/*", "multipart/mixed"),
        ("application/json;q=0.1, application/x-npy", "application/x-npy"),
        ("*/*, application/json;q=0", "multipart/mixed"),
    ],
)
async def test_accept_decides(serve, npy, accept, kind):
    async with serve() as client:
        answer = await client.look(npy(GRAY), headers={"accept": accept})
    assert answer.headers["content-type"].partition(";")[0] == kind


@pytest.mark.parametrize(
    "accept", ["image/png", "application/dicom", "application/json;q=0, text/html", ",".join("a" * 33)]
)
async def test_what_cannot_be_had_is_refused_before_the_upload(serve, accept):
    async def body():
        raise AssertionError("the body was read")
        yield b""

    async with serve() as client:
        answer = await client.http.post("/v1/images", content=body(), headers={"accept": accept})
    assert (answer.status_code, answer.json()["type"]) == (406, "/problems/not-acceptable")
    assert answer.json()["available"] == ["application/json", "multipart/mixed", "application/x-npy"]


@pytest.mark.parametrize(
    "case",
    [
        (b"", {}, 400, "not-an-image"),
        (b"no image", {}, 400, "not-an-image"),
        (b"GIF89a", {}, 415, "unsupported-format"),
        ("dicom", HU, 422, "unsuitable-image"),
        ("dicom", {"rescale_slope": "1"}, 422, "invalid-field"),
        ("dicom", {"model": "ct-tiny"}, 400, "malformed-upload"),
        ("large", {}, 413, "image-too-large"),
        ("many", {}, 413, "image-too-large"),
        ("floats", {}, 422, "unsuitable-image"),
    ],
)
async def test_bad_inputs(serve, ct_slice, npy, case):
    file, fields, status, slug = case
    made = {
        "dicom": ct_slice(),
        "large": npy(np.zeros((101, 100), np.uint8)),
        "many": npy(np.zeros((4, 9, 9), np.uint8)),
        "floats": npy(np.full((9, 9), 40.0)),
    }
    async with serve(max_pixels=10_000, max_frames=3) as client:
        answer = await client.look(made.get(file, file), **fields)
        assert client.engine._in_progress == 0
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{slug}"), answer.text


async def test_other_parts_are_refused(serve, npy):
    async with serve(max_upload_bytes=10_000) as client:
        nothing = await client.http.post("/v1/images", files={"picture": npy(GRAY)})
        missing = await client.http.post("/v1/images", data={"noise": "true"}, files={"": b""})
        both = await client.http.post("/v1/images", files={"image": npy(GRAY), "reference": npy(GRAY)})
        no_form = await client.http.post("/v1/images", content=npy(GRAY))
        large = await client.look(bytes(10_001))
    assert [each.status_code for each in (nothing, missing, both, no_form, large)] == [400, 400, 400, 415, 413]


async def test_a_key_must_be_meant_for_sending_images(serve, npy, tmp_path):
    scopes = {"pacs": Scope.RECONSTRUCT, "ops": Scope.ADMIN, "prometheus": Scope.READ}
    keys = tmp_path / "keys"
    keys.write_text("\n".join(ApiKey(n, frozenset({s}), digest_of(n.encode())).line() for n, s in scopes.items()))
    async with serve(api_keys_file=keys) as client:
        found = {name: await client.look(npy(GRAY), headers={"x-api-key": name}) for name in (*scopes, "none")}
    assert {name: each.status_code for name, each in found.items()} == {
        "pacs": 200,
        "ops": 403,
        "prometheus": 403,
        "none": 401,
    }


async def test_looking_needs_no_model(serve, ct_slice):
    async with serve(ready=False, load=lambda _: 1 / 0) as client:
        await client.app.state.starting
        answer = await client.look(ct_slice())
    assert answer.status_code == 200


async def test_the_deadline_counts(serve, ct_slice):
    go_on = threading.Event()
    async with serve(codec_threads=1) as client:
        client.engine.codecs._turns.add(Turn(lambda: go_on.wait(20), NEVER))  # takes the only thread
        answer = await client.look(ct_slice(), headers={"x-request-timeout": "0.05"})
        go_on.set()
        wrong = await client.look(ct_slice(), headers={"x-request-timeout": "-1"})
    assert (answer.status_code, answer.json()["type"]) == (504, "/problems/deadline-passed")
    assert wrong.status_code == 422

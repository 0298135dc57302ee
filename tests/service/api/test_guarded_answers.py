"""The guard: an answer unlike those that its model was calibrated on says so, and is delivered all the same."""

from __future__ import annotations

import io

import numpy as np
import pydicom
import pytest

from model_store.manifest import Guard

pytestmark = pytest.mark.anyio

HU = {"rescale_slope": "1", "rescale_intercept": "0"}
GUARD = Guard(bounds={"shift": (-1.0, 1.0), "drift": (0.0, 40.0)}, degradations=("quarter",), images=9, patients=2)
STORED = np.random.default_rng(0).integers(1000, 1200, (64, 64)).astype(np.int16)


@pytest.fixture
def guarded(serve, published, tmp_path, tiny_draft):
    """serve, with ct-guarded beside the models of `published`, whose answers may move by 1 HU on average."""
    published.publish(
        tmp_path / "staged", tiny_draft(name="ct-guarded", unit="HU", guard=GUARD), verifier=lambda _: None
    )
    return serve


async def test_a_usual_answer_carries_no_warning(guarded, ct_slice):
    async with guarded(offset=0.5) as client:
        answer = await client.post(ct_slice(STORED), model="ct-guarded")
        metrics = await client.http.get("/metrics")
    assert "clearslice-warning" not in answer.headers
    assert "WARNING" not in pydicom.dcmread(io.BytesIO(answer.content)).DerivationDescription
    assert 'clearslice_warned_total{model="ct-guarded@1"}' not in metrics.text


async def test_an_unusual_one_says_so_in_header_json_figures_and_dicom(guarded, ct_slice):
    async with guarded(offset=7.0) as client:
        answer = await client.post(ct_slice(STORED), model="ct-guarded")
        as_json = await client.post(ct_slice(STORED), model="ct-guarded", headers={"accept": "application/json"})
        metrics = await client.http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["clearslice-warning"] == "values moved by 7 on average, calibrated -1 to 1"
    assert as_json.json()["warnings"] == [answer.headers["clearslice-warning"]]
    derived = pydicom.dcmread(io.BytesIO(answer.content))
    assert "WARNING, unlike what the network was made for: values moved by 7" in derived.DerivationDescription
    np.testing.assert_array_equal(derived.pixel_array, STORED + 7)
    assert 'clearslice_warned_total{model="ct-guarded@1"} 2.0' in metrics.text


async def test_the_networks_answer_is_judged_and_not_its_blend(guarded, ct_slice):
    async with guarded(offset=7.0) as client:
        answer = await client.post(ct_slice(STORED), model="ct-guarded", strength="0.01")
    assert "values moved by 7" in answer.headers["clearslice-warning"]


async def test_a_warning_changes_no_uid(guarded, ct_slice):
    uids = []
    for bound in (1.0, 9.0):
        async with guarded(offset=7.0) as client:
            model = client.engine.store.resolve("ct-guarded")
            bounds = {"shift": (-bound, bound)}
            manifest = model.manifest.model_copy(update={"guard": GUARD.model_copy(update={"bounds": bounds})})
            object.__setattr__(model, "manifest", manifest)
            client.engine.store.resolve = lambda _, model=model: model
            answer = await client.post(ct_slice(STORED), model="ct-guarded")
        derived = pydicom.dcmread(io.BytesIO(answer.content))
        uids.append((derived.SeriesInstanceUID, derived.SOPInstanceUID, "WARNING" in derived.DerivationDescription))
    assert uids[0][:2] == uids[1][:2]
    assert [warned for *_, warned in uids] == [True, False]


async def test_of_several_frames_each_measure_is_named_once_with_its_first_frame(guarded, npy):
    stack = np.random.default_rng(0).normal(0, 50, (3, 64, 64)).astype(np.float32)
    seen = []

    def answer(batch):
        seen.append(batch)
        return batch + np.float32(0 if len(seen) == 1 else 20)

    async with guarded(answer=answer) as client:
        told = await client.post(npy(stack), model="ct-guarded", **HU)
    assert told.headers["clearslice-warning"] == "frame 2: values moved by 20 on average, calibrated -1 to 1"


async def test_a_model_without_calibration_never_warns(serve, ct_slice):
    async with serve(offset=300.0) as client:
        answer = await client.post(ct_slice(STORED))
    assert "clearslice-warning" not in answer.headers

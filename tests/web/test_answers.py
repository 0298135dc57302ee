"""What models made of a slice: strength, metrics, noise, auto, how sure they are, warnings; and how it is kept."""

from __future__ import annotations

import base64
import io
import re
import shlex
import subprocess

import httpx
import numpy as np
import pytest
from playwright.sync_api import expect
from pydicom import dcmread

from imaging.metrics import SOFT_TISSUE, measure

pytestmark = pytest.mark.web

THREE = ("ct-l2", "ct-l1-ssim", "ct-huber")


def test_strength_blends_at_once_and_without_a_call(viewer, sample_files, restored_by):
    viewer.choose("ct-l2")
    viewer.open(sample_files[0], panes=2)
    page = viewer.page
    asked = []
    page.on("request", lambda request: request.method == "POST" and asked.append(request.url))
    page.wait_for_timeout(500)
    asked.clear()
    page.locator("#strength").fill("0.3")
    blended = restored_by("ct-l2", sample_files[0].read_bytes(), strength="0.3")
    viewer.point(250, 260)
    page.wait_for_timeout(50)
    assert viewer.values()[1] == pytest.approx(blended[260, 250], abs=0.051)
    page.locator("#strength").fill("0")
    viewer.point(251, 260)
    page.wait_for_timeout(50)
    degraded, restored = viewer.values()
    assert degraded == restored
    assert asked == []


def test_metrics_are_those_of_the_contract_and_follow_the_strength(viewer, sample_files, hu_of):
    viewer.choose("ct-l2", "ct-l1-ssim")
    viewer.open(sample_files[0], panes=3)
    page = viewer.page
    page.set_input_files("#reference-file", sample_files[1])
    viewer.settled(panes=4)
    table = page.get_by_role("table", name="Metrics: soft tissue window")
    expect(table.locator("tbody tr")).to_have_count(3)
    degraded, truth = hu_of(sample_files[0]), hu_of(sample_files[1])
    row = table.locator("tr", has_text="Degraded")
    expected = measure(degraded, truth, SOFT_TISSUE)
    found = [float(cell) for cell in row.locator("td").all_text_contents()]
    assert found[:2] == pytest.approx([expected.psnr, expected.ssim], abs=0.006)
    best = table.locator("tbody tr").first
    assert "ct-" in best.text_content()
    page.locator("#strength").fill("0")
    expect(table.locator("tr", has_text="ct-l2").locator("td").first).to_have_text(f"{expected.psnr:.2f}")
    table.get_by_role("button", name="SSIM").click()
    expect(table.locator("th[aria-sort]")).to_contain_text("SSIM")


def test_noise_and_what_auto_would_take_with_its_reason(viewer, sample_files):
    viewer.choose("ct-huber")
    viewer.open(sample_files[0], panes=2)
    expect(viewer.page.locator("#auto-reason")).to_contain_text("auto takes ct-l2@")
    expect(viewer.page.locator("#about-image")).to_contain_text(re.compile(r"Noise\d+ HU"))
    viewer.page.locator("#take-auto").click()
    viewer.settled(panes=2)
    assert viewer.titles()[1].startswith("auto: ct-l2@")


def test_how_sure_a_model_is(viewer, server, sample_files):
    viewer.choose("ct-quantile")
    viewer.open(sample_files[0], panes=2)
    page = viewer.page
    page.get_by_role("button", name="How sure").click()
    viewer.settled(panes=3)
    assert "90 % interval" in viewer.titles()[2]
    lower, upper = (
        np.load(io.BytesIO(part))
        for part in _further_outputs(server, "ct-quantile", sample_files[0], ("lower", "upper"))
    )
    viewer.point(250, 260)
    page.wait_for_timeout(50)
    assert viewer.values()[2] == pytest.approx((upper - lower)[260, 250] / 2, abs=0.06)


def _further_outputs(server, model, path, names):
    answer = httpx.post(
        f"{server}/v1/reconstructions",
        files={"image": path.read_bytes()},
        data={"model": model, "outputs": f"restored,{','.join(names)}"},
        headers={"Accept": "application/json"},
        timeout=60,
    ).json()
    return [base64.b64decode(answer["outputs"][name]["data"]) for name in names]


def test_downloads_and_the_line_that_does_the_same(viewer, sample_files, tmp_path, restored_by):
    odd = tmp_path / "low dose; it's 1.dcm"
    odd.write_bytes(sample_files[0].read_bytes())
    viewer.choose("ct-l2")
    viewer.open(odd, panes=2)
    page = viewer.page
    page.locator("#strength").fill("0.5")
    with page.expect_download() as caught:
        page.locator("#download").click()
    derived = dcmread(io.BytesIO(caught.value.path().read_bytes()))
    assert caught.value.suggested_filename == "low dose; it's 1-ct-l2.dcm"
    assert derived.ImageType[0] == "DERIVED"
    expected = restored_by("ct-l2", odd.read_bytes(), strength="0.5")
    hu = derived.pixel_array * float(derived.RescaleSlope) + float(derived.RescaleIntercept)
    assert np.abs(hu - expected).max() <= 0.51
    page.get_by_label("Format").select_option("npy")
    with page.expect_download() as caught:
        page.locator("#download").click()
    np.testing.assert_array_equal(np.load(caught.value.path()), expected)
    line = page.locator(".curl").text_content()
    assert shlex.split(line)[0] == "curl"
    subprocess.run(["bash", "-c", line], cwd=tmp_path, check=True, capture_output=True)
    np.testing.assert_array_equal(np.load(tmp_path / "low dose; it's 1-ct-l2.npy"), expected)


def test_the_sample_comes_with_its_truth(viewer):
    viewer.choose("ct-l2")
    viewer.page.locator("#sample").click()
    viewer.settled(panes=3)
    assert viewer.titles()[0] == "Degraded"
    assert viewer.titles()[2] == "Reference"
    expect(viewer.page.get_by_role("table", name="Metrics: full range")).to_be_visible()
    viewer.page.get_by_role("button", name="Take the reference away").click()
    viewer.settled(panes=2)
    expect(viewer.page.locator("#metrics-card")).to_be_hidden()


def test_what_the_guard_says_stands_in_the_pane(viewer, server, tmp_path):
    board = np.kron(np.indices((128, 128)).sum(0) % 2 * 500, np.ones((2, 2))).astype(np.float32)
    np.save(tmp_path / "board.npy", board)  # of 0 and 500 HU: nothing like a patient
    answer = httpx.post(
        f"{server}/v1/reconstructions",
        files={"image": (tmp_path / "board.npy").read_bytes()},
        data={"model": "ct-l2", "rescale_slope": "1", "rescale_intercept": "0"},
        timeout=60,
    )
    warning = answer.headers["Clearslice-Warning"]
    page = viewer.page
    viewer.choose("ct-l2")
    page.set_input_files("#file", tmp_path / "board.npy")
    page.get_by_role("button", name="Read as HU").click()
    viewer.settled(panes=2)
    expect(page.locator(".pane-warning").last).to_have_text(warning)
    expect(page.locator(".pane-warning").first).to_be_hidden()

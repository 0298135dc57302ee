"""Models, jobs and the PACS node, as their pages show them."""

from __future__ import annotations

import io
import socket
import zipfile

import httpx
import pytest
from playwright.sync_api import expect
from pydicom import dcmread

pytestmark = pytest.mark.web


@pytest.fixture
def archive(drawn, tmp_path):
    path = tmp_path / "series.zip"
    with zipfile.ZipFile(path, "w") as file:
        for number, data in enumerate(drawn(4).files):
            file.writestr(f"{number}.dcm", data)
    return path


def test_models_tell_what_they_are_and_how_they_score(page, server):
    page.get_by_role("link", name="Models").click()
    models = httpx.get(f"{server}/v1/models").json()["models"]
    versions = sum(len(model["versions"]) for model in models)
    expect(page.locator("#model-table button[data-ref]")).to_have_count(versions)
    page.locator('#model-table button[data-ref="ct-l2@3"]').click()
    manifest = httpx.get(f"{server}/v1/models/ct-l2/versions/3").json()["manifest"]
    version = page.locator("#model-version")
    expect(version).to_contain_text(manifest["intended_use"][:60])
    score = manifest["scores"][0]
    expect(version).to_contain_text(f"{score['restored']:.2f}")
    version.locator("details:has-text('Model card') > summary").click()
    expect(version.locator(".markdown")).to_contain_text("Where it fails")
    assert version.locator(".markdown table").count() > 0


def test_scores_of_all_models_can_be_compared_and_sorted(page):
    page.get_by_role("link", name="Models").click()
    page.get_by_role("button", name="Scores of all models").click()
    rows = page.locator("#compare tbody tr")
    expect(rows.first).to_be_visible()
    assert rows.count() >= 10
    gain = page.locator("#compare th", has_text="Gain")
    column = page.locator("#compare th").all_text_contents().index(gain.text_content())
    for direction in ("descending", "ascending"):
        gain.get_by_role("button").click()
        expect(gain).to_have_attribute("aria-sort", direction)
        gains = [float(row.locator("th, td").nth(column).text_content().replace("\u2212", "-")) for row in rows.all()]
        assert gains == sorted(gains, reverse=direction == "descending")


def test_the_loss_report_is_there(page):
    page.get_by_role("link", name="Models").click()
    link = page.locator('a[href*="which-loss.html"]').first
    with page.context.expect_page() as opened:
        link.click()
    expect(opened.value.locator("h1")).to_have_text("Which loss suits which noise?")


def test_a_model_is_loaded_and_unloaded(page, server):
    page.get_by_role("link", name="Models").click()
    page.get_by_role("button", name="Load ct-gradient@1").click()
    dialog = page.get_by_role("alertdialog")
    dialog.get_by_role("button").last.click()
    expect(page.get_by_role("button", name="Unload ct-gradient@1")).to_be_visible()
    states = {
        each["version"]: each["state"] for each in httpx.get(f"{server}/v1/models/ct-gradient").json()["versions"]
    }
    assert states[1] == "loaded"


def test_a_series_as_a_job_from_upload_to_result(page, archive):
    page.get_by_role("link", name="Jobs").click()
    page.set_input_files("#job-file", archive)
    page.get_by_role("button", name="Restore the series").click()
    job = page.locator("#job-list article[data-job]").first
    expect(job.locator(".chip")).to_have_text("done")
    with page.expect_download() as caught:
        job.get_by_role("button", name="Download the result").click()
    with zipfile.ZipFile(caught.value.path()) as result:
        derived = [dcmread(io.BytesIO(result.read(name))) for name in result.namelist() if name.endswith(".dcm")]
    assert len(derived) == 4
    assert all(each.ImageType[0] == "DERIVED" for each in derived)
    job.get_by_role("button", name="Remove job").click()
    page.get_by_role("alertdialog").get_by_role("button").last.click()
    expect(page.locator("#job-list article[data-job]")).to_have_count(0)


def test_a_job_starts_from_what_is_looked_at(viewer, archive):
    viewer.choose("ct-l2")
    viewer.open(archive, panes=2)
    expect(viewer.page.locator("#opened progress")).to_have_count(0)
    viewer.page.locator("#start-job").click()
    job = viewer.page.locator("#job-list article[data-job]").first
    expect(job.locator(".chip")).to_have_text("done")
    job.get_by_role("button", name="Remove job").click()
    viewer.page.get_by_role("alertdialog").get_by_role("button").last.click()
    expect(job).to_have_count(0)


def test_an_upload_that_is_no_series_is_refused_in_words(page, server, tmp_path):
    (tmp_path / "text.zip").write_bytes(b"no archive")
    page.get_by_role("link", name="Jobs").click()
    page.set_input_files("#job-file", tmp_path / "text.zip")
    page.get_by_role("button", name="Restore the series").click()
    refusal = httpx.post(f"{server}/v1/jobs", files={"series": b"no archive"}).json()["detail"]
    expect(page.locator("[role=alert]", has_text=refusal).first).to_be_visible()


def test_without_a_node_the_page_says_so(page):
    page.get_by_role("link", name="PACS").click()
    expect(page.locator('.note[data-problem="/problems/no-node"]')).to_be_visible()


@pytest.fixture
def node(serve_at, tmp_path):
    """A server that is a PACS node, whose only peer is not there."""
    with socket.socket() as nobody, socket.socket() as own:
        nobody.bind(("127.0.0.1", 0))
        own.bind(("127.0.0.1", 0))
        ports = nobody.getsockname()[1], own.getsockname()[1]
    (tmp_path / "pacs.toml").write_text(
        f'[node]\nport = {ports[1]}\nquiet_seconds = 1\n[peers.archive]\naet = "ARCHIVE"\nhost = "127.0.0.1"\n'
        f'port = {ports[0]}\nverify = "none"\ngive_up_seconds = 1\n[[rules]]\nname = "all"\nto = "archive"\n'
    )
    with serve_at(tmp_path, CLEARSLICE_PACS=str(tmp_path / "pacs.toml")) as url:
        yield url


def test_a_dead_letter_is_seen_requeued_and_discarded(tab, node, drawn):
    files = drawn(2).files
    body = b"".join(b"--b\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n" for data in files) + b"--b--\r\n"
    stored = httpx.post(
        f"{node}/dicom-web/studies",
        content=body,
        headers={"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'},
    )
    assert stored.status_code == 200
    page = tab(f"{node}/#pacs")
    series = page.locator("#pacs-series article[data-series]")
    expect(series).to_have_count(1)
    requeue = series.get_by_role("button", name="Requeue series")
    expect(requeue).to_be_visible()
    expect(series).to_contain_text("archive")
    requeue.click()
    page.get_by_role("alertdialog").get_by_role("button").last.click()
    expect(requeue).to_be_hidden()
    expect(requeue).to_be_visible()  # nobody has come to take it
    series.get_by_role("button", name="Discard series").click()
    page.get_by_role("alertdialog").get_by_role("button").last.click()
    expect(requeue).to_be_hidden()
    states = [each["state"] for each in httpx.get(f"{node}/v1/pacs/series").json()["series"]]
    assert states == ["discarded"]


@pytest.fixture
def own_store(serve_at, tmp_path):
    """A server with a store of its own, where labels can be set."""
    (tmp_path / "store").mkdir()
    with serve_at(tmp_path, CLEARSLICE_STORE=str(tmp_path / "store")) as url:
        yield url


def test_a_label_is_set_and_taken_away(tab, own_store):
    page = tab(f"{own_store}/#models")
    page.locator('#model-table button[data-ref="ct-huber@1"]').click()
    form = page.get_by_role("form", name="Promote")
    label = form.locator("input[name=label]")
    label.fill("canary")
    form.locator("input[name=weight]").fill("0.25")
    form.get_by_role("button", name="Promote").click()
    dialog = page.get_by_role("alertdialog")
    expect(dialog).to_contain_text("25 % of the DICOM series")
    dialog.get_by_role("button", name="Promote").click()
    expect(page.locator("#model-version")).to_contain_text("canary, 25 % of the series")
    model = httpx.get(f"{own_store}/v1/models/ct-huber").json()
    assert (model["labels"]["canary"], model["canary_weight"]) == (1, 0.25)
    label.fill("")
    form.get_by_role("button", name="Take the label away").click()
    expect(page.get_by_role("alertdialog")).to_have_count(0)
    label.fill("none-such")
    form.get_by_role("button", name="Take the label away").click()
    expect(page.locator(".toast.error")).to_contain_text("ct-huber has no label none-such")
    label.fill("canary")
    form.get_by_role("button", name="Take the label away").click()
    expect(dialog).to_contain_text("It means ct-huber@1 now.")
    dialog.get_by_role("button", name="Take it away").click()
    expect(page.locator("#model-version")).not_to_contain_text("canary, 25 %")
    assert "canary" not in httpx.get(f"{own_store}/v1/models/ct-huber").json()["labels"]


def test_quarantine_and_pulls(tab, node, drawn):
    file = drawn(1).files[0]
    other = dcmread(io.BytesIO(file))
    other.PixelData = bytes(len(other.PixelData))
    changed = io.BytesIO()
    other.save_as(changed)
    for data in (file, changed.getvalue()):
        answer = httpx.post(
            f"{node}/dicom-web/studies",
            content=b"--b\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n--b--\r\n",
            headers={"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'},
        )
        assert answer.status_code in {200, 202, 409}
    page = tab(f"{node}/#pacs")
    row = page.locator("#pacs-quarantine")
    with page.expect_download() as caught:
        row.get_by_role("button", name="Download instance").click()
    assert dcmread(io.BytesIO(caught.value.path().read_bytes())).PixelData == other.PixelData
    row.get_by_role("button", name="Remove instance").click()
    page.get_by_role("alertdialog").get_by_role("button").last.click()
    expect(row.get_by_role("button", name="Remove instance")).to_have_count(0)
    assert httpx.get(f"{node}/v1/pacs/quarantine").json()["instances"] == []
    page.locator("#pull-peer").fill("nobody")
    page.locator("#pull-series").fill("1.2.3")
    page.get_by_role("button", name="Fetch it").click()
    expect(page.locator(".toast.error, [role=alert]").first).to_contain_text("peer must be")

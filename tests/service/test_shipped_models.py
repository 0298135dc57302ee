"""What ships, served as it ships: a stranger's first request, on a phantom whose truth is known."""

from __future__ import annotations

import functools
import io

import httpx
import numpy as np
import pydicom
import pytest
from skimage import color, data

from imaging.guard import findings, measure_answer
from imaging.low_dose import RAMP, SOFT, Kernel
from imaging.metrics import RELATIVE, SOFT_TISSUE, measure, tissue_bias
from imaging.phantom import trunk
from imaging.sample import Sample, SampleSettings, make_sample
from model_store.restorer import load_restorer
from model_store.store import PUBLISHED, ModelStore
from service.app import create_app
from service.batching import bucket_of, stack, unstack
from service.settings import Settings

pytestmark = pytest.mark.anyio

MAX_VERSION_BYTES = 4 * 10**6


def test_every_shipped_version_is_light_and_labelled():
    store = ModelStore()
    assert store.resolve(store.default_ref()).name == "ct-l2"
    for name in store.names():
        assert "stable" in store.labels(name)
        for number in store.versions(name):
            version = store.resolve(f"{name}@{number}")
            size = sum(file.stat().st_size for file in version.path.rglob("*") if file.is_file())
            assert size <= MAX_VERSION_BYTES
            assert version.manifest.scores, "a shipped model says how it scored"
            assert all("not stated" not in data.licence for data in version.manifest.training_data)
            assert "esearch" in version.manifest.intended_use


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_image_in_a_batch_is_answered_as_it_is_alone(precision):
    version = ModelStore().resolve("ct-l2")
    restorer = load_restorer(version, precision=precision)
    noise = np.random.default_rng(5).normal(0, 30, (256, 256))
    whole = (trunk((256, 256), (1.5, 1.5), np.random.default_rng(0)) + noise).astype(np.float32)
    images = [whole[np.newaxis, :rows, :columns, np.newaxis] for rows, columns in ((256, 256), (241, 256), (250, 243))]
    bucket = bucket_of((250, 243), version.manifest.size_multiple)
    assert bucket == (256, 256)
    together = unstack(restorer(stack(images, bucket)), images, bucket)
    for image, answer in zip(images, together, strict=True):
        assert np.abs(answer - restorer(image)).max() <= (0.01 if precision == "float32" else 0.5)


def picture(name: str, low: float, high: float) -> np.ndarray:
    """A photograph that scikit-image ships, 512 x 512, from `low` to `high` as if it were HU."""
    grey = data.camera() if name == "camera" else color.rgb2gray(data.astronaut()) * 255
    return (low + (high - low) * (grey / 255)).astype(np.float32)


def phantom(*, noise: float = 25.0, **options: bool) -> np.ndarray:
    """An abdomen with white noise."""
    rng = np.random.default_rng(3)
    return (trunk((512, 512), (0.7, 0.7), rng, **options) + rng.normal(0, noise, (512, 512))).astype(np.float32)


def mr_like() -> np.ndarray:
    """The same anatomy in another contrast: fat bright, bone and air dark, nothing in HU."""
    return np.interp(phantom(noise=0), [-1000, -120, -80, 0, 60, 150, 700], [0, 900, 850, 300, 450, 500, 40]).astype(
        np.float32
    ) + np.random.default_rng(0).normal(0, 20, (512, 512)).astype(np.float32)


NO_CT = {
    "a photograph from air to bone": lambda: picture("camera", -1000, 1000),
    "a photograph as a soft-tissue window": lambda: picture("camera", -160, 240),
    "a portrait from air to bone": lambda: picture("astronaut", -1000, 1000),
    "an MR-like contrast": mr_like,
    "an inverted scan": lambda: -phantom(),
    "HU shifted by 300": lambda: phantom() + 300,
    "HU times 4": lambda: 4 * phantom(),
}


@pytest.fixture(scope="module")
def default_restorer():
    store = ModelStore()
    return load_restorer(store.resolve(store.default_ref()), precision="float32")


@pytest.mark.parametrize("what", NO_CT)
def test_the_guard_warns_of_what_is_no_ct(default_restorer, what):
    image = NO_CT[what]()
    restored = default_restorer(image[None, ..., None])[0, ..., 0]
    found = findings(measure_answer(image, restored, "HU"), default_restorer.version.manifest.guard.bounds)
    assert found, measure_answer(image, restored, "HU")


@functools.cache
def quarter_dose(kernel: Kernel) -> Sample:
    """A slice of a phantom; its noise is what a scanner's would be under that kernel."""
    noise_hu = {SOFT: 15, RAMP: 25}[kernel]
    return make_sample(SampleSettings(seed=11, dose_fraction=0.25, noise_hu=noise_hu, kernel=kernel))


@pytest.mark.parametrize("kernel", [SOFT, RAMP], ids=["soft", "ramp"])
def test_the_guard_lets_a_low_dose_ct_pass(default_restorer, kernel):
    image = quarter_dose(kernel).low_dose[0]
    restored = default_restorer(image[None, ..., None])[0, ..., 0]
    assert not findings(measure_answer(image, restored, "HU"), default_restorer.version.manifest.guard.bounds)


def names(unit: str) -> list[str]:
    store = ModelStore()
    return [name for name in store.names() if store.resolve(name).manifest.unit == unit]


@pytest.mark.parametrize("model", names("HU"))
async def test_a_quarter_dose_slice_comes_back_better(model):
    # default settings but for the device: a test must not fight over a GPU
    app = create_app(Settings(store=None, published=PUBLISHED, device="cpu", preload=(model,)))
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as http,
    ):
        await app.state.starting
        assert (await http.get("/v2/health/ready")).status_code == 200
        for kernel in (SOFT, RAMP):
            await check_that_it_is_better(http, model, kernel)


async def check_that_it_is_better(http: httpx.AsyncClient, model: str, kernel: Kernel) -> None:
    """The slice as DICOM in and out, and untouched at strength 0."""
    sample = quarter_dose(kernel)
    files = {"image": sample.low_dose_files[0], "reference": sample.full_dose_files[0]}
    answer = await http.post("/v1/reconstructions", files=files, data={"model": model})
    asked = {"model": model, "strength": "0"}
    untouched = await http.post("/v1/reconstructions", files={"image": files["image"]}, data=asked)
    assert answer.status_code == 200
    assert answer.headers["Clearslice-Model"].startswith(f"{model}@")
    derived = pydicom.dcmread(io.BytesIO(answer.content))
    assert derived.ImageType[0] == "DERIVED"
    restored = (derived.pixel_array * float(derived.RescaleSlope) + float(derived.RescaleIntercept)).astype(np.float32)
    truth = sample.truth[0]
    before, after = measure(sample.low_dose[0], truth, SOFT_TISSUE), measure(restored, truth, SOFT_TISSUE)
    # measured: 5.9 dB, 0.118 and more; a version that does less is no improvement
    assert after.psnr - before.psnr > 5, kernel
    assert after.ssim > before.ssim + 0.1, kernel
    bias, _ = tissue_bias(restored, truth)["soft tissue"]
    assert abs(bias) < 2, kernel
    source = pydicom.dcmread(io.BytesIO(files["image"]))
    np.testing.assert_array_equal(pydicom.dcmread(io.BytesIO(untouched.content)).pixel_array, source.pixel_array)


@pytest.mark.parametrize("model", names("relative"))
def test_a_noisy_picture_comes_back_better(model):
    """Under the noise that each was made for; the photograph was in nobody's training."""
    clean = data.camera().astype(np.float32) / 255
    rng = np.random.default_rng(0)
    noisy = clean + rng.normal(0, 0.1, clean.shape).astype(np.float32)
    if model == "relative-huber":
        noisy = np.where(rng.random(clean.shape) < 0.1, rng.integers(0, 2, clean.shape), clean).astype(np.float32)
    restored = load_restorer(ModelStore().resolve(model))(noisy[None, ..., None])[0, ..., 0]
    before, after = measure(noisy, clean, RELATIVE), measure(restored, clean, RELATIVE)
    assert after.psnr - before.psnr > 6
    assert after.ssim > before.ssim + 0.3

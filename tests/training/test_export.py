from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from imaging.metrics import TISSUES
from model_store.errors import RefusedVersion
from model_store.golden import read_golden
from model_store.manifest import Golden, Signature
from model_store.restorer import load_restorer
from model_store.store import ModelStore
from training import export as module
from training.degradations import DoseProtocol, parse_degradation
from training.errors import IncompatibleRun
from training.evaluation.evaluate import evaluate, summarise
from training.export import Credit, export, golden_image
from training.fit import FitSettings, fit, load_run
from training.networks.unet import UNetConfig, build_unet
from training.recipes import RECIPES

# the network that ships, hardly trained: what is proven here is the way out, not the restoring
SETTINGS = FitSettings(model="ct-l2", epochs=1, steps=4, batch=2, patch=32, learning_rate=3e-3)


@pytest.fixture(scope="module")
def exported(prepared, tmp_path_factory):
    """(run, version): one run, published with the real verifier."""
    run = tmp_path_factory.mktemp("run")
    model = fit(SETTINGS, [prepared("a", 1)], [], run)
    methods = {"ct-l2": lambda image: model.predict_on_batch(image[None, ..., None])[0, ..., 0]}
    scores = evaluate(methods, [prepared("b", 2), prepared("c", 3)], [], [DoseProtocol(0.25, 15.0)], processes=1)
    store = ModelStore(tmp_path_factory.mktemp("store"), published=None)
    version = export(run, store, rows=summarise(scores), credits_by_series={"a1": Credit("Phantoms", "none needed")})
    return run, version


@pytest.mark.parametrize("shape", [(1, 1), (37, 53), (128, 96)])
def test_the_published_model_answers_as_the_trained_one(exported, shape):
    run, version = exported
    image = np.random.default_rng(0).normal(0, 300, (2, *shape, 1)).astype(np.float32)
    model, settings = load_run(run)
    full = build_unet(settings.network, "HU", dtype="float32")
    full.set_weights(model.get_weights())
    expected = full.predict_on_batch(image)
    assert np.abs(expected - image).max() > 0.01  # it does something
    restorer = load_restorer(version, precision="float32")
    np.testing.assert_allclose(restorer(image), expected, atol=0.01)
    reduced = load_restorer(version, precision="bfloat16")(image)
    assert np.abs(reduced - expected).max() > 0  # it is another precision
    assert np.sqrt(np.mean((reduced - expected) ** 2)) < 1


def test_weights_are_stored_once_and_the_version_is_light(exported):
    _, version = exported
    weights = (version.path / "variables" / "variables.data-00000-of-00001").stat().st_size
    assert weights == pytest.approx(4 * version.manifest.parameters, rel=0.01)
    assert sum(file.stat().st_size for file in version.path.rglob("*") if file.is_file()) < 4e6


def test_the_manifest_says_what_it_is(exported):
    _, version = exported
    manifest = version.manifest
    assert (manifest.name, manifest.domain, manifest.unit, manifest.recipe) == ("ct-l2", "ct", "HU", "l2")
    assert manifest.training_settings == SETTINGS.to_json()
    (data,) = manifest.training_data
    assert (data.series, data.collection, data.slices) == ("a1", "Phantoms", 2)
    psnr = next(score for score in manifest.scores if score.metric == "psnr")
    assert psnr.contract.low == -160
    assert psnr.patients == 2
    assert psnr.degraded != psnr.restored
    assert FitSettings.from_json(manifest.training_settings) == SETTINGS


def test_a_full_dose_has_no_psnr_to_gain_on(exported, prepared, tmp_path):
    run, _ = exported
    model, _ = load_run(run)
    methods = {"ct-l2": lambda image: model.predict_on_batch(image[None, ..., None])[0, ..., 0]}
    scores = evaluate(methods, [prepared("b", 2)], [], [DoseProtocol(1.0, kernel=None)], processes=1)
    version = export(run, ModelStore(tmp_path, published=None), rows=summarise(scores))
    assert {score.metric for score in version.manifest.scores} == {"ssim", "rmse"}


def test_the_card_has_data_scores_and_limits(exported):
    _, version = exported
    card = (version.path / "README.md").read_text()
    for text in (
        "Not a medical device",
        "| a1 | 2 | Phantoms | none needed |",
        "| degraded |",
        "| ct-l2 |",
        "## Where it fails",
        "## Limits",
    ):
        assert text in card


def test_the_golden_sample_has_an_odd_size_and_everything_hard(exported):
    image = golden_image()
    np.testing.assert_array_equal(image, golden_image())
    _, rows, columns, _ = image.shape
    assert rows % 2 == columns % 2 == 1
    assert image.max() > 2500  # metal
    for low, high in (TISSUES["air"], TISSUES["fat"], TISSUES["soft tissue"], TISSUES["bone"]):
        assert np.count_nonzero((image >= low) & (image < high)) > 200
    _, version = exported
    np.testing.assert_array_equal(read_golden(version.path, version.manifest).image, image)


def test_an_unfinished_run_is_refused(prepared, tmp_path):
    class Stop(Exception):
        pass

    def stop(state):
        if state.epoch == 2:
            raise Stop

    with pytest.raises(Stop):
        fit(replace(SETTINGS, epochs=2, steps=1), [prepared("a", 1)], [], tmp_path / "run", progress=stop)
    store = ModelStore(tmp_path / "store", published=None)
    with pytest.raises(IncompatibleRun, match="finished 1 of 2 epochs; resume"):
        export(tmp_path / "run", store)
    assert store.names() == []


def test_both_signatures_read_the_same_variables(exported):
    """Not two copies that could drift apart: a change of the stored weights moves both answers."""
    import tensorflow as tf  # noqa: PLC0415 - heavy

    _, version = exported
    loaded = tf.saved_model.load(str(version.path))
    image = tf.constant(golden_image())
    before = {
        name: loaded.signatures[name](image=image)["restored"].numpy() for name in ("serving_default", "bfloat16")
    }
    for variable in loaded.weights:
        variable.assign(tf.zeros_like(variable))
    for name, answer in before.items():
        after = loaded.signatures[name](image=image)["restored"].numpy()
        np.testing.assert_array_equal(after, image)  # without weights a residual network is the identity
        assert np.abs(answer - after).max() > 0.01


# --- networks that say how sure they are


@pytest.fixture(scope="module", params=["ct-quantile", "relative-heteroscedastic"])
def uncertain(request, prepared, tmp_path_factory):
    """(run, version): a small network with a second head, published with the real verifier."""
    run = tmp_path_factory.mktemp("run")
    settings = replace(SETTINGS, model=request.param, network=UNetConfig((4, 6), 1), loss={})
    series = prepared("a", 1)
    if request.param.startswith("relative"):
        settings = replace(settings, noise=parse_degradation("gaussian", "relative"))
        shown = np.clip((series.images + 160) / 400, 0, 1).astype(np.float32)
        series = replace(series, unit="relative", images=shown, unit_noise=None)
    fit(settings, [series], [], run)
    return run, export(run, ModelStore(tmp_path_factory.mktemp("store"), published=None))


def test_with_uncertainty_restores_as_the_signature_that_only_restores(uncertain):
    """Bit for bit, from the stored files; at the size of the golden sample, a CT slice, and one pixel."""
    _, version = uncertain
    scale = {"HU": 1000, "relative": 1}[version.manifest.unit]
    restorer = load_restorer(version, precision="float32")
    for shape in ((1, 67, 85, 1), (2, 256, 256, 1), (3, 1, 1, 1)):
        image = np.random.default_rng(0).normal(0, 0.3 * scale, shape).astype(np.float32)
        answers = restorer.with_uncertainty(image)
        np.testing.assert_array_equal(answers["restored"], restorer(image))
        assert np.abs(answers["restored"] - image).max() > 1e-5 * scale  # it does something


def test_every_output_is_the_trained_networks(uncertain):
    run, version = uncertain
    model, settings = load_run(run)
    full = build_unet(settings.network, version.manifest.unit, outputs=settings.recipe.outputs, dtype="float32")
    full.set_weights(model.get_weights())
    image = golden_image(version.manifest.unit)
    expected = full.predict_on_batch(image)
    answers = load_restorer(version, precision="float32").with_uncertainty(image)
    assert tuple(answers) == settings.recipe.outputs
    tolerance = version.manifest.golden.max_abs
    for channel, answer in enumerate(answers.values()):
        np.testing.assert_allclose(answer, expected[..., channel : channel + 1], atol=tolerance / 10)
    if "sigma" in answers:
        assert answers["sigma"].min() > 0
    else:
        assert (answers["lower"] < answers["restored"]).all()
        assert (answers["restored"] < answers["upper"]).all()


def test_its_manifest_golden_sample_and_card_say_what_it_gives(uncertain):
    _, version = uncertain
    outputs = RECIPES[version.manifest.recipe].outputs
    assert version.manifest.signatures == {
        "serving_default": Signature(),
        "bfloat16": Signature(compute_dtype="bfloat16"),
        "with_uncertainty": Signature(outputs=outputs),
    }
    golden = read_golden(version.path, version.manifest)
    assert set(golden.answers) == set(outputs)
    np.testing.assert_array_equal(golden.image, golden_image(version.manifest.unit))
    assert "with_uncertainty" in (version.path / "README.md").read_text()
    weights = (version.path / "variables" / "variables.data-00000-of-00001").stat().st_size
    assert weights < 1.5 * 4 * version.manifest.parameters  # once, however many signatures


def test_the_golden_bounds_are_those_of_the_decision_in_the_models_unit(exported, uncertain):
    assert exported[1].manifest.golden == Golden(max_abs=0.5, reduced_rms=1, reduced_p999=5, reduced_mean=0.1)
    manifest = uncertain[1].manifest
    assert manifest.golden.max_abs == {"HU": 0.5, "relative": 0.0005}[manifest.unit]


def test_the_golden_picture_goes_from_black_to_white_and_beyond():
    image = golden_image("relative")
    assert image.shape == golden_image().shape
    for low, high in ((-1, 0), (0, 0.2), (0.4, 0.6), (0.9, 1), (1, 2)):
        assert np.count_nonzero((image >= low) & (image < high)) > 90


def test_where_bfloat16_is_too_coarse_the_version_has_float32_only(prepared, monkeypatch, tmp_path):
    settings = replace(SETTINGS, epochs=1)
    fit(settings, [prepared("a", 1)], [], tmp_path / "run")
    strict = Golden(max_abs=0.5, reduced_rms=0.0, reduced_p999=0.0, reduced_mean=0.0)
    monkeypatch.setattr(module, "_bounds", lambda _: strict)
    version = export(tmp_path / "run", ModelStore(tmp_path / "store", published=None))
    assert set(version.manifest.signatures) == {"serving_default"}
    assert load_restorer(version).precision == "float32"
    with pytest.raises(RefusedVersion, match="no bfloat16 signature"):
        load_restorer(version, precision="bfloat16")


def test_a_patterned_credit_fits_where_no_name_does():
    credits_by_series = {"a-*": Credit("all", "x"), "a-1": Credit("one", "y"), "[b]": Credit("b", "z")}
    found = [module._credit(series, credits_by_series).collection for series in ("a-1", "a-2", "[b]", "c")]
    assert found == ["one", "all", "b", "not stated"]


def test_a_series_without_credit_says_so(exported):
    run, _ = exported
    model, settings = load_run(run)
    data = [{"series": "a1", "patient": "a", "slices": 2}]
    (source,) = module._draft(model, settings, [], data, credits_by_series={}, calibration=None).training_data
    assert (source.collection, source.licence) == ("not stated", "not stated")


def test_another_backend_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(module.keras.backend, "backend", lambda: "jax")
    with pytest.raises(IncompatibleRun, match="KERAS_BACKEND=tensorflow"):
        export(tmp_path, ModelStore(tmp_path / "store", published=None))

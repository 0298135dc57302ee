"""The signature `with_uncertainty`: loaded, proven by the golden sample, refused where it is not as FORMAT.md says."""

from __future__ import annotations

import numpy as np
import pytest

from model_store.errors import RefusedVersion
from model_store.golden import read_golden
from model_store.manifest import Signature
from model_store.restorer import import_tensorflow, load_restorer
from model_store.verify import verify_version

IMAGE = np.random.default_rng(0).normal(40, 200, (1, 9, 13, 1)).astype(np.float32)
RESTORED, SIGMA = IMAGE + 7, np.abs(IMAGE) / 8 + 1

BOTH = {"serving_default": Signature(), "with_uncertainty": Signature(outputs=("restored", "sigma"))}


@pytest.fixture
def publish_uncertain(store, staged, tiny_draft):
    """publish_uncertain(outputs, golden arrays) -> a version whose model adds 7 HU, and sigma = abs(image) / 8 + 1."""

    def make(signatures=BOTH, *, gives=("restored", "sigma"), **golden):
        tf = import_tensorflow()
        module = tf.Module()
        spec = [tf.TensorSpec([None, None, None, 1], tf.float32, name="image")]

        @tf.function(input_signature=spec)
        def restore(image):
            return {"restored": image + 7}

        @tf.function(input_signature=spec)
        def with_uncertainty(image):
            spread = tf.abs(image) / 8 + 1
            every = {"sigma": spread, "lower": image + 7 - spread, "upper": image + 7 + spread, "restored": image + 7}
            return {name: every[name] for name in gives}

        functions = {"serving_default": restore, "with_uncertainty": with_uncertainty}
        tf.saved_model.save(module, str(staged), signatures={name: functions[name] for name in signatures})
        arrays = {"image": IMAGE, "restored": RESTORED, "sigma": SIGMA, **golden}
        np.savez(staged / "golden.npz", **{name: array for name, array in arrays.items() if array is not None})
        return store.publish(staged, tiny_draft(signatures=signatures), verifier=lambda _: None)

    return make


def test_it_gives_every_output_by_its_name(publish_uncertain):
    restorer = load_restorer(publish_uncertain())
    batch = np.random.default_rng(1).normal(0, 500, (2, 5, 7, 1)).astype(np.float32)
    answers = restorer.with_uncertainty(batch)
    assert tuple(answers) == restorer.with_uncertainty.outputs == ("restored", "sigma")
    np.testing.assert_array_equal(answers["restored"], restorer(batch))
    np.testing.assert_array_equal(answers["sigma"], np.abs(batch) / 8 + 1)
    with pytest.raises(ValueError, match=r"\(5, 7\) float32"):
        restorer.with_uncertainty(batch[0, ..., 0])


def test_bounds_come_in_their_order_too(publish_uncertain):
    outputs = ("restored", "lower", "upper")
    signatures = {**BOTH, "with_uncertainty": Signature(outputs=outputs)}
    version = publish_uncertain(signatures, gives=outputs, lower=RESTORED - SIGMA, upper=RESTORED + SIGMA)
    assert version.manifest.spread_outputs == ("lower", "upper")
    answers = load_restorer(version).with_uncertainty(IMAGE)
    assert tuple(answers) == outputs
    np.testing.assert_allclose(answers["upper"] - answers["restored"], SIGMA, rtol=1e-4)


def test_most_versions_have_none(publish_uncertain):
    version = publish_uncertain({"serving_default": Signature()}, sigma=None)
    assert version.manifest.spread_outputs == ()
    assert load_restorer(version).with_uncertainty is None
    assert set(read_golden(version.path, version.manifest).answers) == {"restored"}


def test_the_golden_sample_covers_every_output(publish_uncertain):
    version = publish_uncertain()
    assert set(load_restorer(version).with_uncertainty.deviations) == {"restored", "sigma"}
    lines = verify_version(version)
    assert [line.split(":")[0] for line in lines] == [
        "float32 on CPU",
        "with_uncertainty, restored, on CPU",
        "with_uncertainty, sigma, on CPU",
    ]


def test_a_sigma_that_is_not_the_stored_one_is_refused_with_its_worst_pixel(publish_uncertain):
    lying = SIGMA.copy()
    lying[0, 4, 2, 0] += 2
    with pytest.raises(RefusedVersion, match=r"sigma of with_uncertainty in float32 .* worst pixel row 4, column 2"):
        load_restorer(publish_uncertain(sigma=lying))


def test_a_golden_sample_without_sigma_is_refused(publish_uncertain):
    with pytest.raises(RefusedVersion, match="does not hold the arrays 'image' and 'restored' and 'sigma'"):
        load_restorer(publish_uncertain(sigma=None))
    with pytest.raises(RefusedVersion, match=r"'image' is \(1, 9, 13, 1\), 'sigma' \(1, 9, 12, 1\)"):
        load_restorer(publish_uncertain(sigma=SIGMA[:, :, 1:]))


@pytest.mark.parametrize("outputs", [("sigma", "restored"), ("restored",), ("restored", "lower")])
def test_other_outputs_are_refused(publish_uncertain, outputs):
    signatures = {**BOTH, "with_uncertainty": Signature(outputs=outputs)}
    version = publish_uncertain(signatures, gives=outputs, lower=RESTORED - SIGMA)
    with pytest.raises(RefusedVersion, match="'with_uncertainty' must take 'image' and give 'restored' with 'sigma'"):
        load_restorer(version)

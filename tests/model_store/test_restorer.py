import gc
import math
import os
import sys
import threading
import weakref

import numpy as np
import pytest

from model_store.errors import ModelStoreError, RefusedVersion
from model_store.manifest import Signature
from model_store.restorer import import_tensorflow, load_restorer, memory_bytes

BOTH = {"serving_default": Signature(), "bfloat16": Signature(compute_dtype="bfloat16")}


@pytest.fixture
def published(store, tiny_export, tiny_draft):
    """published(kind, field=...) -> a version with a real SavedModel whose manifest may say anything."""

    def make(kind="smooth", **changes):
        return store.publish(tiny_export(kind).path, tiny_draft(kind, **changes), verifier=lambda _: None)

    return make


@pytest.fixture
def publish_staged(store, staged, tiny_draft):
    """publish_staged(field=...) -> a version made of the folder `staged`."""
    return lambda **changes: store.publish(staged, tiny_draft(**changes), verifier=lambda _: None)


@pytest.fixture(scope="module")
def smooth(tiny_store):
    return tiny_store("smooth").resolve("tiny-smooth")


@pytest.fixture(scope="module")
def restore(smooth):
    return load_restorer(smooth, precision="float32")


def batch_of(shape, seed=0):
    return np.random.default_rng(seed).normal(40, 200, shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 7, 13, 1), (3, 33, 2, 1), (2, 64, 64, 1)])
def test_float32_equals_numpy_over_batches_and_odd_sizes(restore, tiny_answer, shape):
    batch = batch_of(shape)
    before = batch.copy()
    answer = restore(batch)
    assert (answer.shape, answer.dtype) == (shape, np.float32)
    assert isinstance(answer, np.ndarray)
    np.testing.assert_allclose(answer, tiny_answer("smooth", batch), atol=1e-3)
    np.testing.assert_array_equal(batch, before)


@pytest.mark.parametrize("kind", ["identity", "offset"])
def test_the_other_tiny_models_are_exact(published, tiny_answer, kind):
    batch = batch_of((2, 5, 9, 1))
    np.testing.assert_array_equal(load_restorer(published(kind))(batch), tiny_answer(kind, batch))


def test_bfloat16_is_near_and_not_the_same(smooth, restore):
    reduced = load_restorer(smooth, precision="bfloat16")
    batch = batch_of((1, 65, 31, 1))
    difference = reduced(batch) - restore(batch)
    assert 0 < np.sqrt(np.mean(difference**2)) < 1.0
    assert (reduced.precision, restore.precision) == ("bfloat16", "float32")
    assert reduced.deviation.max_abs > restore.deviation.max_abs


def test_a_restorer_says_what_it_is(smooth, restore):
    assert restore.version == smooth
    assert restore.device == "CPU:0"
    assert restore.timings == {}
    assert restore.deviation.max_abs < 0.01


def test_what_was_timed_before_is_not_timed_again(smooth, monkeypatch):
    monkeypatch.setattr("model_store.restorer.time_each", lambda *_: pytest.fail("timed again"))
    for fast, slow in (("float32", "bfloat16"), ("bfloat16", "float32")):
        known = {fast: 0.5, slow: 1.0}
        loaded = load_restorer(smooth, timings=known)
        assert (loaded.precision, loaded.timings) == (fast, known)


def test_timings_of_another_set_of_signatures_do_not_count(smooth):
    assert load_restorer(smooth, timings={"bfloat16": 1e-9}).timings["bfloat16"] > 1e-9


def test_a_device_that_does_not_compute_it_is_refused(smooth):
    """TensorFlow itself falls back without a word."""
    with pytest.raises(RefusedVersion, match="was to run on CPU:7, and TensorFlow runs it on CPU:0"):
        load_restorer(smooth, device="CPU:7")


def test_a_slice_of_a_larger_array_is_taken_as_it_is(restore):
    batch = batch_of((2, 20, 30, 1))
    np.testing.assert_array_equal(restore(batch[:, ::2, 1::3]), restore(batch[:, ::2, 1::3].copy()))


@pytest.mark.parametrize(
    ("batch", "found"),
    [
        (np.zeros((8, 8), np.float32), r"\(8, 8\) float32"),
        (np.zeros((1, 8, 8), np.float32), r"\(1, 8, 8\) float32"),
        (np.zeros((1, 8, 8, 3), np.float32), r"\(1, 8, 8, 3\) float32"),
        (np.zeros((1, 8, 8, 1), np.float64), r"\(1, 8, 8, 1\) float64"),
        (np.zeros((1, 8, 8, 1), np.int16), r"\(1, 8, 8, 1\) int16"),
        ([[[[0.0]]]], "list"),
        (np.zeros((0, 8, 8, 1), np.float32), r"\(0, 8, 8, 1\), which holds no pixel"),
        (np.zeros((1, 0, 8, 1), np.float32), r"\(1, 0, 8, 1\), which holds no pixel"),
    ],
)
def test_what_is_no_batch_is_named_and_not_run(restore, batch, found):
    with pytest.raises(ValueError, match=found):
        restore(batch)


def test_many_threads_may_call_at_once(restore, tiny_answer):
    errors = []

    def work(seed):
        batch = batch_of((1, 20 + seed, 31, 1), seed)
        expected = tiny_answer("smooth", batch)
        errors.extend(float(np.abs(restore(batch) - expected).max()) for _ in range(10))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 60
    assert max(errors) < 1e-3


def test_auto_times_both_precisions_and_keeps_the_faster(smooth):
    chosen = load_restorer(smooth)
    assert set(chosen.timings) == {"float32", "bfloat16"}
    assert chosen.precision == min(chosen.timings, key=chosen.timings.get)


def test_auto_serves_float32_when_the_reduced_precision_fails_its_golden_sample(published, tiny_draft, caplog):
    golden = tiny_draft().golden.model_copy(update={"reduced_rms": 1e-6})
    version = published(golden=golden)
    chosen = load_restorer(version)
    assert chosen.precision == "float32"
    assert set(chosen.timings) == {"float32"}
    assert "tiny-smooth@1 in reduced precision does not reproduce its golden sample" in caplog.text
    with pytest.raises(RefusedVersion, match=r"mean square deviation .*, allowed 1e-06; worst pixel row 8, column 30"):
        load_restorer(version, precision="bfloat16")


def test_float32_must_pass_whatever_bfloat16_does(published, tiny_draft):
    version = published(golden=tiny_draft().golden.model_copy(update={"max_abs": 1e-9}))
    for precision in ("auto", "float32"):
        with pytest.raises(RefusedVersion, match=r"in float32 does not reproduce .* worst pixel row"):
            load_restorer(version, precision=precision)


def test_a_changed_file_is_refused_before_tensorflow_sees_it(published, monkeypatch):
    version = published()
    (version.path / "README.md").write_text("another card")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(RefusedVersion, match=r"'README\.md' was changed"):
        load_restorer(version)


@pytest.mark.parametrize(
    ("signatures", "message"),
    [
        ({"serving_default": Signature()}, r"has the signatures \['bfloat16', 'serving_default'\], its manifest says"),
        ({**BOTH, "with_uncertainty": Signature()}, r"its manifest says \['bfloat16', 'serving_default', 'with_unc"),
        (
            {**BOTH, "serving_default": Signature(inputs=("x",))},
            r"'serving_default' has inputs \['image'\], its manifest says \['x'\]",
        ),
        (
            {**BOTH, "bfloat16": Signature(outputs=("restored", "sigma"))},
            r"'bfloat16' has outputs \['restored'\], its manifest says \['restored', 'sigma'\]",
        ),
    ],
)
def test_signatures_must_be_as_the_manifest_says(published, signatures, message):
    with pytest.raises(RefusedVersion, match=message):
        load_restorer(published(signatures=signatures))


@pytest.mark.parametrize(
    ("spec", "names", "message"),
    [
        (([None, None, None, 1], "float64"), ("image", "restored"), "'image' is float64, not float32"),
        (([None, None, None, 3], "float32"), ("image", "restored"), r"'image' has shape \(None, None, None, 3\)"),
        (([None, None, 1], "float32"), ("image", "restored"), r"'image' has shape \(None, None, 1\)"),
        (([1, 37, 41, 1], "float32"), ("image", "restored"), r"'image' has shape \(1, 37, 41, 1\)"),
        ((None, "float32"), ("image", "restored"), "'image' has shape None"),
        (([None, None, None, 1], "float32"), ("x", "y"), "'serving_default' must take 'image' and give 'restored'"),
    ],
)
def test_tensors_must_be_free_nhwc_float32(publish_staged, staged, spec, names, message):
    tf = import_tensorflow()
    module = tf.Module()
    takes, gives = names

    @tf.function(input_signature=[tf.TensorSpec(*spec, name=takes)])
    def restore(image):
        return {gives: tf.identity(image)}

    tf.saved_model.save(module, str(staged), signatures={"serving_default": restore})
    signatures = {"serving_default": Signature(inputs=(takes,), outputs=(gives,))}
    with pytest.raises(RefusedVersion, match=message):
        load_restorer(publish_staged(signatures=signatures))


def test_bytes_that_are_no_saved_model_are_refused(version):
    with pytest.raises(RefusedVersion, match="TensorFlow cannot load ct-l2@1"):
        load_restorer(version)


def test_bfloat16_needs_its_signature(published):
    with pytest.raises(RefusedVersion, match="has no bfloat16 signature; load it in float32"):
        load_restorer(published(signatures={"serving_default": Signature()}), precision="bfloat16")


def test_nothing_keeps_a_dropped_model_alive(smooth):
    restorer = load_restorer(smooth)
    run = next(cell.cell_contents for cell in restorer._restore.__closure__ if callable(cell.cell_contents))
    cells = [cell.cell_contents for cell in run.__closure__]
    model = weakref.ref(next(content for content in cells if hasattr(content, "signatures")))
    assert model() is not None
    del restorer, run, cells
    gc.collect()
    assert model() is None


def test_without_tensorflow_the_message_names_what_to_install(smooth, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ModelStoreError, match=r"TensorFlow is not installed.*'\.\[cpu\]'"):
        load_restorer(smooth)


@pytest.mark.parametrize(("before", "after"), [(None, "2"), ("0", "0")])
def test_tensorflow_is_quiet_unless_the_user_wants_otherwise(monkeypatch, before, after):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    if before is not None:
        monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", before)
    import_tensorflow()
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == after


def test_the_memory_of_a_device_is_what_tensorflow_says(monkeypatch):
    known = {"GPU:0": {"current": 5, "peak": 7}}
    experimental = import_tensorflow().config.experimental
    assert math.isnan(memory_bytes("CPU:0", "current"))
    monkeypatch.setattr(experimental, "get_memory_info", lambda device: known[device])
    assert (memory_bytes("GPU:0", "current"), memory_bytes("GPU:0", "peak")) == (5.0, 7.0)

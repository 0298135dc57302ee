from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from training.losses.adversarial import accuracy, realness, telling_apart

REAL = np.array([[[1.0], [0.5]], [[0.0], [2.0]]], np.float32)[None]  # off 1 by 0, 0.5, 1, 1
MADE = np.array([[[0.0], [0.5]], [[1.0], [-1.0]]], np.float32)[None]  # off 0 by 0, 0.5, 1, 1
LOSSES = pytest.mark.parametrize("loss", [telling_apart, accuracy])


def test_realness_by_hand():
    assert float(realness(REAL)[0]) == pytest.approx((0 + 0.25 + 1 + 1) / 4 / 2)
    assert float(realness(MADE)[0]) == pytest.approx((1 + 0.25 + 0 + 4) / 4 / 2)
    assert float(realness(np.ones((1, 3, 2, 1)))[0]) == 0


def test_telling_apart_by_hand():
    assert float(telling_apart(REAL, MADE)[0]) == pytest.approx(2.25 / 4 / 2 + 2.25 / 4 / 2)
    ones, zeros = np.ones((1, 2, 2, 1)), np.zeros((1, 2, 2, 1))
    assert float(telling_apart(ones, zeros)[0]) == 0
    assert float(telling_apart(zeros, ones)[0]) == 1
    assert float(telling_apart(ones / 2, ones / 2)[0]) == 0.25  # cannot tell


def test_accuracy_counts_both_kinds():
    """Of real ones 1 and 2 are told right, 0.5 and 0 not; of restored ones 0, 0.5 and -1 are, 1 is not."""
    assert float(accuracy(REAL, MADE)[0]) == pytest.approx(5 / 8)


def test_one_value_per_image_in_float32():
    scores = tf.cast(np.concatenate([REAL, MADE, REAL]), "bfloat16")
    for value in (realness(scores), telling_apart(scores, scores[::-1]), accuracy(scores, scores)):
        assert value.shape == (3,)
        assert value.dtype == tf.float32


def test_gradients_are_finite_and_point_the_right_way():
    for scale in (0, 1, 1e6):
        real, made = tf.Variable(scale * REAL), tf.Variable(scale * MADE)
        with tf.GradientTape(persistent=True) as tape:
            apart, looks = telling_apart(real, made), realness(made)
        for value, variable in ((apart, real), (apart, made), (looks, made)):
            assert np.isfinite(tape.gradient(value, variable).numpy()).all()
    made = tf.Variable(np.full((1, 1, 1, 1), 0.5, np.float32))
    with tf.GradientTape(persistent=True) as tape:
        looks, apart = realness(made), telling_apart(made, made)
    assert float(tape.gradient(looks, made)[0, 0, 0, 0]) == -0.5  # the restorer raises the score
    assert float(tape.gradient(apart, made)[0, 0, 0, 0]) == 0


@LOSSES
@pytest.mark.parametrize("other", [(1, 2, 2), (1, 2, 2, 2), (2, 2, 2, 1), (1, 1, 1, 1)])
def test_other_shapes_are_refused_not_broadcast(loss, other):
    with pytest.raises(ValueError, match="shape"):
        loss(REAL, np.zeros(other, np.float32))


@pytest.mark.parametrize("shape", [(1, 2, 2), (1, 2, 2, 3), (4,)])
def test_scores_have_one_channel(shape):
    with pytest.raises(ValueError, match=r"scores of shape \(N, h, w, 1\)"):
        realness(np.zeros(shape, np.float32))

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from training.tensorboard_log import TensorBoardLog


@pytest.fixture
def events(tmp_path):
    """events() -> what TensorBoard itself reads back."""

    def read():
        accumulator = EventAccumulator(str(tmp_path), size_guidance={"images": 0, "scalars": 0})
        accumulator.Reload()
        return accumulator

    return read


def test_what_is_written_is_read_back(tmp_path, events):
    log = TensorBoardLog(tmp_path)
    picture = np.arange(6, dtype=np.uint8).reshape(2, 3)
    log.write(1, {"loss": 0.5, "psnr": 30.25}, {"tune": picture})
    log.write(2, {"loss": 0.25}, {})
    read = events()  # before the log is closed: a run is watched while it goes on
    assert [(event.step, event.value) for event in read.Scalars("loss")] == [(1, 0.5), (2, 0.25)]
    assert [event.value for event in read.Scalars("psnr")] == [30.25]
    (image,) = read.Images("tune")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(image.encoded_image_string))), picture)
    log.close()


def test_numbers_that_are_not_finite_are_left_out(tmp_path, events):
    log = TensorBoardLog(tmp_path)
    log.write(1, {"loss": float("nan"), "psnr": float("inf"), "ssim": 0.5}, {})
    log.close()
    assert events().Tags()["scalars"] == ["ssim"]

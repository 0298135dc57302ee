"""Scalars and pictures for TensorBoard, written without TensorFlow so that a run on JAX has them too."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter


class TensorBoardLog:
    """One event file in `folder`; several runs side by side: `tensorboard --logdir runs`."""

    def __init__(self, folder: Path) -> None:
        self._writer = EventFileWriter(str(folder))

    def write(self, epoch: int, scalars: Mapping[str, float], pictures: Mapping[str, NDArray[np.uint8]]) -> None:
        """Records one epoch; pictures are (H, W) uint8 grayscale. Scalars that are not finite are left out."""
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items() if math.isfinite(value)]
        for tag, picture in pictures.items():
            png = io.BytesIO()
            Image.fromarray(picture).save(png, "PNG")
            height, width = picture.shape
            encoded = Summary.Image(height=height, width=width, colorspace=1, encoded_image_string=png.getvalue())
            values.append(Summary.Value(tag=tag, image=encoded))
        self._writer.add_event(Event(wall_time=time.time(), step=epoch, summary=Summary(value=values)))
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()

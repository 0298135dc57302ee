"""From the images of a request to the model's answers: leased, batched with others', tiled where they are large.

Frames --lease--> batch by batch --executor--> answers
             |                        |
         too large?            OutOfDeviceMemory?
             +------- tile by tile ---+    smaller tiles, until they are as small as they can be: NotReady
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from imaging.frames import Frames
from model_store.errors import OutOfDeviceMemory
from model_store.manifest import Manifest
from model_store.store import ModelVersion
from service import tiling
from service.batching import Batch, bucket_of
from service.device_work import Alike, Ran, Restored, Work
from service.errors import NotReady
from service.executor import Executor
from service.models import LoadedVersions
from service.pipeline import to_batch

OUT_OF_MEMORY_RETRY_SECONDS = 10
"""After which whatever else filled the device may be gone."""

_SMALLER = 4
"""How many times fewer pixels a tile gets when the device had not the memory: half the side."""


class Restoring:
    """Runs versions on images.

    Args:
        versions: in memory.
        executor: of the device.
        tile_pixels: larger images are restored in tiles.
    """

    def __init__(self, versions: LoadedVersions, executor: Executor, *, tile_pixels: int) -> None:
        self._versions = versions
        self._executor = executor
        self._tile_pixels = tile_pixels

    async def restore(
        self, version: ModelVersion, frames: Frames, outputs: Sequence[str], *, deadline: float, admitted: bool
    ) -> Ran:
        """Runs a version on every image, a batch at a time: a long stack leaves room for others in between.

        Args:
            version: what is to restore.
            frames: images in its unit.
            outputs: what it is to give; it does.
            deadline: until when, in `time.monotonic()` seconds.
            admitted: what was already done for the request would be lost, so it waits however many do.

        Raises:
            ModelStoreError, ServiceError: as loading, the queue and the device say.
        """
        bucket = bucket_of(frames.shape, version.manifest.size_multiple)
        images = [to_batch(image) for image in frames]
        at_once = self._executor.images_at_once(bucket)
        answers: list[Restored] = []
        async with self._versions.lease(version, deadline=deadline) as replicas:
            restore = replicas.by_device(outputs)
            alike = Alike((replicas, *outputs), bucket, replicas.shared_pixels)
            for begin in range(0, len(images), at_once):
                works = [Work(restore, image, version.ref, alike) for image in images[begin : begin + at_once]]
                answers += await self._run(
                    works, version.manifest, deadline=deadline, admitted=admitted or bool(answers)
                )
            return Ran(
                batches=[answer.batch for answer in answers],
                infer_seconds=_seconds(answers),
                precision=replicas.precision if len(outputs) == 1 else "float32",
                device=", ".join(sorted({each for answer in answers for each in answer.device.split(", ")})),
            )

    async def _run(
        self, works: Sequence[Work], manifest: Manifest, *, deadline: float, admitted: bool
    ) -> list[Restored]:
        """Whole where they are not too large, and else each in tiles."""
        shape = _shape(works[0].batch)
        whole = shape[0] * shape[1] <= self._tile_pixels
        if whole:
            try:
                return await self._executor.restore(works, deadline=deadline, admitted=admitted)
            except OutOfDeviceMemory:
                admitted = True
        return [
            await self._in_tiles(
                work, manifest, tried=int(whole), deadline=deadline, admitted=admitted or work is not works[0]
            )
            for work in works
        ]

    async def _in_tiles(
        self, work: Work, manifest: Manifest, *, tried: int, deadline: float, admitted: bool
    ) -> Restored:
        """One image, in more tiles than were tried."""
        height, width = _shape(work.batch)
        pixels = height * width // _SMALLER if tried else self._tile_pixels
        while True:
            tiles = tiling.split(
                (height, width),
                tile_pixels=pixels,
                receptive_field=manifest.receptive_field,
                size_multiple=manifest.size_multiple,
            )
            if len(tiles) <= tried:
                raise NotReady(
                    "the device has not the memory to restore this image, not even in small parts; try again later",
                    retry_after=OUT_OF_MEMORY_RETRY_SECONDS,
                )
            try:
                return await self._tile_by_tile(work, tiles, deadline=deadline, admitted=admitted)
            except OutOfDeviceMemory:
                admitted, tried, pixels = True, len(tiles), pixels // _SMALLER

    async def _tile_by_tile(
        self, work: Work, tiles: Sequence[tiling.Tile], *, deadline: float, admitted: bool
    ) -> Restored:
        """Others have their turn between them. Tiles are cut out and put together on the device's thread, since the
        event loop has better to do."""
        mosaic, seconds, devices = tiling.Mosaic(_shape(work.batch)), 0.0, set[str]()
        for tile in tiles:
            fill = {each: functools.partial(mosaic.fill, restore, tile) for each, restore in work.restore.items()}
            rows, columns = (each.stop - each.start for each in tile.source)
            (part,) = await self._executor.restore(
                [Work(fill, work.batch, work.ref, part=(rows, columns))],
                deadline=deadline,
                admitted=admitted or tile is not tiles[0],
            )
            seconds += part.infer_seconds
            devices.add(part.device)
        return Restored(mosaic.whole(), seconds, ", ".join(sorted(devices)))


def warm_shapes(sizes: Sequence[tuple[int, int]], executor: Executor) -> tuple[tuple[int, int, int], ...]:
    """(N, H, W) of the runs that images of these sizes can have part in: N is each power of two up to the most."""
    shapes = []
    for height, width in sizes:
        most = executor.images_per_run((height, width))
        shapes += [(1 << power, height, width) for power in range(most.bit_length())]
    return tuple(shapes)


def _shape(image: Batch) -> tuple[int, int]:
    return image.shape[1], image.shape[2]


def _seconds(answers: Sequence[Restored]) -> float:
    """Of all runs, each counted once however many of the images shared it."""
    shared = {answer.run: answer.infer_seconds for answer in answers if answer.run is not None}
    return sum(shared.values()) + sum(answer.infer_seconds for answer in answers if answer.run is None)

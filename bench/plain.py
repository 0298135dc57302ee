"""The server that everybody writes first: an array in, an array out, and nothing else.

python -m bench.plain SAVED_MODEL PORT [bare]

It runs under uvicorn with httptools and uvloop, which `uvicorn[standard]` brings. With `bare` it runs with h11 and
asyncio, which are what `pip install fastapi uvicorn` alone gives.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import uvicorn
from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from model_store.restorer import import_tensorflow


def plain_app(saved_model: Path) -> FastAPI:
    """POST / with an NPY file, (N, H, W, 1) float32 -> an NPY file."""
    tf = import_tensorflow()
    model = tf.saved_model.load(str(saved_model))
    restore = model.signatures["serving_default"]
    app = FastAPI()

    @app.post("/")
    async def infer(request: Request) -> Response:
        batch = np.load(io.BytesIO(await request.body()))
        answer = await run_in_threadpool(restore, image=tf.constant(batch))
        file = io.BytesIO()
        np.save(file, answer["restored"].numpy())
        return Response(file.getvalue())

    return app


def main(saved_model: str, port: str, variant: str = "standard") -> None:
    """Serves on loopback until a signal."""
    app = plain_app(Path(saved_model))
    if variant == "bare":
        uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="error", http="h11", loop="asyncio")
    else:
        uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="error", http="httptools", loop="uvloop")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A store without TensorFlow, fake restorers, and an app around them that is called without a network.

published -> ModelStore with ct-tiny@1 (HU, the default) and gray-tiny@1 (relative)
serve(restorer, setting=...) -> Client: the app with those settings, started and ready
ct_slice(...) -> the bytes of a synthetic CT instance; see `ct_slice.py` beside this file for what can be changed
new_findings(source, derived) -> what dciodvfy finds in a derived instance and did not in its source
"""

from __future__ import annotations

import contextlib
import io
import runpy
import shutil
import subprocess
import threading
import types
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import structlog
from numpy.typing import NDArray
from pydicom import Dataset

from model_store.manifest import ManifestDraft
from model_store.store import ModelStore, ModelVersion
from service.app import create_app
from service.settings import Settings

NOW = datetime(2026, 3, 4, 5, 6, 7, 890000, tzinfo=UTC)
"""What the app's clock shows in every test."""

CT_SLICE = types.SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("ct_slice.py"))))


@dataclass(eq=False)
class FakeRestorer:
    """Adds a number to every pixel; can be told to wait, to answer nonsense, and tells what it saw."""

    version: ModelVersion
    offset: float = 0.0
    precision: str = "float32"
    device: str = "CPU:0"
    timings: dict[str, float] = field(default_factory=dict)
    seen: list[NDArray[np.float32]] = field(default_factory=list)
    answer: Callable[[NDArray[np.float32]], Any] | None = None
    started: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    waits: bool = False

    def __call__(self, batch: NDArray[np.float32]) -> Any:
        self.seen.append(batch)
        self.started.set()
        if self.waits:
            assert self.go_on.wait(20), "the test never let the restorer go on"
        return np.add(batch, self.offset, dtype=np.float32) if self.answer is None else self.answer(batch)


@pytest.fixture
def restorer() -> type[FakeRestorer]:
    """(version, offset=...) -> what a loader gives."""
    return FakeRestorer


@dataclass(frozen=True)
class Client:
    """An app in progress: `http` calls it; `restorers` are those that it loaded, by ref."""

    http: httpx.AsyncClient
    app: Any
    restorers: dict[str, FakeRestorer]

    @property
    def engine(self) -> Any:
        return self.app.state.engine

    async def post(
        self, image: bytes, *, headers: dict[str, str] | None = None, **fields: str | bytes
    ) -> httpx.Response:
        """POST /v1/reconstructions; `reference` is a file, the other fields are text."""
        files: dict[str, Any] = {"image": ("image", image, "application/octet-stream")}
        if "reference" in fields:
            files["reference"] = ("reference", fields.pop("reference"), "application/octet-stream")
        return await self.http.post("/v1/reconstructions", files=files, data=fields, headers=headers)

    async def look(self, image: bytes, *, headers: dict[str, str] | None = None, **fields: str) -> httpx.Response:
        """POST /v1/images."""
        return await self.http.post("/v1/images", files={"image": ("image", image)}, data=fields, headers=headers)


@pytest.fixture(autouse=True)
def _no_request_id_left() -> Any:
    yield
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def published(tmp_path: Path, tiny_draft: Callable[..., ManifestDraft]) -> ModelStore:
    """ct-tiny@1 (HU, the default) and gray-tiny@1 (relative), whose graphs are only bytes."""
    return publish_fakes(tmp_path, tiny_draft)


@pytest.fixture
def add_version(tmp_path: Path, tiny_draft: Callable[..., ManifestDraft]) -> Callable[..., ModelVersion]:
    """(store, name, unit=...) -> the next version of a model of `published`."""

    def add(store: ModelStore, name: str, unit: str = "HU") -> ModelVersion:
        return store.publish(tmp_path / "staged", tiny_draft(name=name, unit=unit), verifier=lambda _: None)

    return add


@pytest.fixture(scope="session")
def published_once(tmp_path_factory: pytest.TempPathFactory, tiny_draft: Callable[..., ManifestDraft]) -> ModelStore:
    """As `published`, for servers that live for a whole session: not to be changed."""
    return publish_fakes(tmp_path_factory.mktemp("published"), tiny_draft)


def publish_fakes(folder: Path, tiny_draft: Callable[..., ManifestDraft]) -> ModelStore:
    """The store of `published`."""
    staged = folder / "staged"
    (staged / "variables").mkdir(parents=True)
    (staged / "saved_model.pb").write_bytes(b"graph")
    (staged / "variables" / "variables.index").write_bytes(b"index")
    (staged / "README.md").write_text("# Card\n", encoding="utf-8")
    image = np.zeros((1, 3, 5, 1), np.float32)
    np.savez(staged / "golden.npz", image=image, restored=image)
    store = ModelStore(folder / "store", published=None)
    for name, unit in (("ct-tiny", "HU"), ("gray-tiny", "relative")):
        store.publish(staged, tiny_draft(name=name, unit=unit), verifier=lambda _: None)
        store.promote(name, "stable", 1)
    store.set_default("ct-tiny@stable")
    return store


Serve = Callable[..., contextlib.AbstractAsyncContextManager[Client]]


@pytest.fixture
def serve(published: ModelStore) -> Serve:
    """serve(offset=..., waits=..., answer=..., ready=False, clock=..., <setting>=...) -> context with a `Client`."""

    @asynccontextmanager
    async def serving(
        *,
        offset: float = 0.0,
        waits: bool = False,
        answer: Callable[[NDArray[np.float32]], Any] | None = None,
        load: Callable[[ModelVersion], Any] | None = None,
        ready: bool = True,
        clock: Callable[[], datetime] = lambda: NOW,
        **settings: Any,
    ) -> AsyncIterator[Client]:
        restorers: dict[str, FakeRestorer] = {}

        def load_fake(version: ModelVersion) -> Any:
            restorers[version.ref] = FakeRestorer(version, offset=offset, answer=answer, waits=waits)
            return restorers[version.ref]

        # warming would count as a call, and wait; and calls are counted by images
        made = Settings(**{"warm_sizes": (), "codec_threads": 2, "batch_pixels": 1, **settings})
        loads = load or load_fake
        app = create_app(made, store=published, load=lambda version: [loads(version)], clock=clock)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://localhost") as http,
        ):
            if ready:
                await app.state.starting
                assert app.state.engine.readiness() == (True, "")
            yield Client(http, app, restorers)
            for restorer in restorers.values():
                restorer.go_on.set()

    return serving


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, as the service does."""
    return "asyncio"


def npy_bytes(array: NDArray[Any]) -> bytes:
    """An NPY file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.fixture(scope="session")
def npy() -> Callable[[NDArray[Any]], bytes]:
    """`npy_bytes`, for tests in other modules."""
    return npy_bytes


@pytest.fixture(scope="session")
def ct_dataset() -> Callable[..., Dataset]:
    """`make_ct` of `ct_slice.py`."""
    return CT_SLICE.make_ct


@pytest.fixture(scope="session")
def ct_slice() -> Callable[..., bytes]:
    """(stored, attribute=...) -> the bytes of a synthetic CT instance."""
    return lambda *args, **kwargs: CT_SLICE.ct_bytes(CT_SLICE.make_ct(*args, **kwargs))


KNOWN_FINDINGS = (
    # DeviceUID is in the macro of PS3.3 C.12.1.1.5 since 2010; dciodvfy's tables are older
    "Warning - Attribute is not present in standard DICOM IOD - (0x0018,0x1002) UI Device UID",
    "Warning - Dicom dataset contains attributes not present in standard DICOM IOD - this is a Standard Extended SOP",
)


@pytest.fixture
def new_findings(tmp_path: Path) -> Callable[[bytes, bytes], set[str]]:
    """(source file, derived file) -> findings. dciodvfy exits 0 whatever it finds, so its output is read."""
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("dciodvfy (Debian package dicom3tools) is not installed")

    def findings(file: bytes) -> set[str]:
        path = tmp_path / "instance.dcm"
        path.write_bytes(file)
        done = subprocess.run([program, str(path)], capture_output=True, text=True, errors="replace", check=False)
        lines = (done.stdout + done.stderr).splitlines()
        return {line.strip() for line in lines if "Error" in line or "Warning" in line}

    def new(source: bytes, derived: bytes) -> set[str]:
        return {line for line in findings(derived) - findings(source) if not line.startswith(KNOWN_FINDINGS)}

    return new

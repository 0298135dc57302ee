"""`clearslice serve`: the service on this machine, until it is told to stop.

options over CLEARSLICE_* --> Settings --> service.server.run --SIGTERM--> drained, status 0
          usage error 2      UnsafeConfiguration 1
"""

from __future__ import annotations

import importlib.util
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer


class Precision(StrEnum):
    """How the model computes."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"


class Device(StrEnum):
    """Where it computes."""

    auto = "auto"
    cpu = "cpu"


class LogLevel(StrEnum):
    """The least level that is logged."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


def serve(
    host: Annotated[
        str | None,
        typer.Option(help="Address to bind; 127.0.0.1 unless CLEARSLICE_HOST says otherwise.", show_default=False),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="TCP port; 8000 by default, 0 for any free one.", show_default=False),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Your model store, which lies over the shipped models.", show_default=False),
    ] = None,
    preload: Annotated[
        str | None,
        typer.Option(
            metavar="REFS", help="Models to load before the service is ready, comma-separated.", show_default=False
        ),
    ] = None,
    precision: Annotated[
        Precision | None, typer.Option(help="auto: the faster one that is exact enough.", show_default=False)
    ] = None,
    device: Annotated[Device | None, typer.Option(help="auto: a GPU where there is one.", show_default=False)] = None,
    log_level: Annotated[LogLevel | None, typer.Option(help="Least level of the log.", show_default=False)] = None,
    allow_anonymous: Annotated[
        bool | None,
        typer.Option(
            "--allow-anonymous",
            help="Bind an address that other machines reach without API keys: everyone may then send images.",
            show_default=False,
        ),
    ] = None,
    api_keys_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="API keys, without which an address that other machines reach is not bound; see `clearslice keys`.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Serve the models over HTTP: POST an image, get it back restored.

    Every setting is also an environment variable (CLEARSLICE_HOST, CLEARSLICE_MAX_UPLOAD_BYTES ...); options win. The
    service answers `GET /v2/health/live` at once and `GET /v2/health/ready` when its models are loaded and proven.
    SIGTERM lets accepted requests finish.
    """
    from clearslice.commands.terminal import expected_errors
    from model_store.errors import ModelStoreError
    from model_store.restorer import import_tensorflow
    from service.errors import ServiceError
    from service.server import run

    options: dict[str, Any] = {
        "host": host,
        "port": port,
        "store": store,
        "preload": preload,
        "precision": precision,
        "device": device,
        "log_level": log_level,
        "allow_anonymous": allow_anonymous,
        "api_keys_file": api_keys_file,
    }
    settings = read_settings({name: value for name, value in options.items() if value is not None})
    with expected_errors(ServiceError, ModelStoreError):
        if importlib.util.find_spec("tensorflow") is None:
            import_tensorflow()  # raises, and names the extra; when it is there, a thread loads it later
        run(settings)


def read_settings(options: dict[str, Any]) -> Any:
    """The settings of the environment with options over them.

    Raises:
        typer.BadParameter: a value is impossible; names its environment variable.
    """
    from pydantic import ValidationError

    from service.settings import Settings, environment_name

    try:
        return Settings(**options)
    except ValidationError as error:
        found = (
            f"{environment_name('__'.join(str(part) for part in item['loc']))}: {item['msg']}"
            for item in error.errors(include_url=False, include_input=False, include_context=False)
        )
        raise typer.BadParameter("; ".join(found)) from None

"""The settings of the service: one frozen object, read once at the start and passed to `create_app`.

    environment CLEARSLICE_* --> Settings <-- options of `clearslice serve`
                                    |
                       check_exposure: UnsafeConfiguration

Beyond loopback the service wants API keys, or to be told that it may do without.

The site's conventions for derived DICOM are nested: `CLEARSLICE_DICOM__SERIES_NUMBER_OFFSET=9000`.
"""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from imaging.limits import Limits
from model_store.store import PUBLISHED
from service.errors import UnsafeConfiguration

PREFIX = "CLEARSLICE_"
_HOST_NAME = re.compile(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")

_DEVICE = re.compile(r"[CG]PU:[0-9]+")


def environment_name(field: str) -> str:
    """The environment variable that sets a field of `Settings`."""
    return f"{PREFIX}{field.upper()}"


class SiteConventions(BaseModel):
    """How this site wants its derived DICOM instances; everything else follows DICOM PS3.3 and is not a choice."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    series_number_offset: Annotated[int, Field(ge=0, lt=2**30)] = Field(
        default=8000, description="Added to SeriesNumber, so that derived series sort after all of the scanner's own."
    )
    series_description_suffix: Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[ -\[\]-~]+$")] = Field(
        default=" AI-DN",
        description="Appended to SeriesDescription, whose text is cut so that both fit 64 characters. ASCII, no \\.",
    )
    image_type_secondary: bool = Field(
        default=False,
        description="ImageType value 2 becomes SECONDARY. Default: PRIMARY stays, since hanging protocols look for it.",
    )
    keep_scanner_manufacturer: bool = Field(
        default=False,
        description="Keep the scanner's Manufacturer, model and software versions for hanging protocols that need them."
        " Default: they name this program, and the scanner moves to ContributingEquipmentSequence (PS3.3 C.7.5.1).",
    )
    content_qualification: Literal["PRODUCT", "RESEARCH", "SERVICE"] = Field(
        default="RESEARCH",
        description="ContentQualification: RESEARCH until someone approved the models for diagnosis.",
    )
    allow_burned_in_annotation: bool = Field(
        default=False,
        description="Accept BurnedInAnnotation YES. Default: refused, since a network would alter burned-in text.",
    )


class Settings(BaseSettings):
    """All that can be configured. Each field is the environment variable CLEARSLICE_<FIELD>."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", frozen=True, extra="ignore", env_ignore_empty=True
    )

    host: str = Field(
        default="127.0.0.1",
        description="Address to bind. Another than loopback needs `api_keys_file` or `allow_anonymous`.",
    )
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        default=8000, description="TCP port; 0 lets the system choose one."
    )
    allow_anonymous: bool = Field(
        default=False,
        description="Bind an address that others can reach without API keys, although everyone may then send images."
        " With `api_keys_file` it has no effect.",
    )
    api_keys_file: Path | None = Field(
        default=None,
        description="File of API keys, whose lines `clearslice keys new` makes; changes are noticed. Default: no keys,"
        " which only loopback may do without.",
    )
    jwt_issuer: Annotated[str, Field(pattern=r"^(https?://[^\s]+)?$")] = Field(
        default="",
        description="Identity provider (OpenID Connect) whose access tokens are taken beside API keys, as in"
        " https://sso.example.org/realms/hospital; exactly as its tokens name it. Default: none.",
    )
    jwt_audience: Annotated[str, Field(min_length=1)] = Field(
        default="clearslice", description="Audience (`aud`) that a token must be for."
    )
    jwt_keys: str = Field(
        default="",
        description="File or address of the identity provider's public keys (JWKS). Default: what its discovery"
        " document names.",
    )
    jwt_scope_prefix: str = Field(
        default="",
        description="Before our scopes (read, reconstruct, admin) in a token's `scope`, `scp` or `roles`, as in"
        " clearslice: for clearslice:reconstruct.",
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Names by which clients call this server, comma-separated: ct.example.org, *.example.org or *."
        " IP addresses and localhost always work. Default: any with API keys or tokens, none without, so that no web"
        " page can lead a browser here under a name of its own.",
    )
    store: Path | None = Field(
        default=None, description="Folder of the writable model store, which lies over `published`. Default: none."
    )
    store_poll_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=1.0,
        description="How often to look whether others have changed the store; a change counts when it looks the same"
        " twice, so that nothing is taken while it is being copied.",
    )
    published: Path = Field(
        default=PUBLISHED, description="Folder of the read-only versions that ship with the project."
    )
    preload: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Model refs, comma-separated, loaded before the service is ready. Default: the store's default.",
    )
    max_loaded: Annotated[int, Field(ge=1)] = Field(
        default=16,
        description="Versions in memory at once; the one that was idle longest makes room. About 30 MB each, beside the"
        " 0.9 GB that the first takes.",
    )
    memory_budget: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="Bytes of memory that the process may use before idle versions make room, the longest idle first."
        " 0: `max_loaded` alone decides.",
    )
    shadow: str = Field(
        default="",
        description="Model ref, as in ct-l2@canary, that also sees what other versions of its model are given, when the"
        " device has nothing else to do; how far its answers are from theirs is counted, and it answers nobody.",
    )
    warm_sizes: Annotated[tuple[tuple[int, int], ...], NoDecode] = Field(
        default=((512, 512),),
        description="Image sizes, HxW and comma-separated, run once per version before it serves, because the first"
        " run of a size is the slowest. 512x512 is what nearly every CT scanner writes.",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="auto: the faster one that passes the golden sample's tolerance, timed at warm-up."
    )
    device: Literal["auto", "cpu"] = Field(
        default="auto", description="auto: all GPUs that TensorFlow sees, else the CPU. cpu: never a GPU."
    )
    placement: Annotated[tuple[tuple[str, str], ...], NoDecode] = Field(
        default=(),
        description="Models that shall not be on every GPU, comma-separated, as in ct-huber=GPU:1,relative-l2=CPU:0;"
        " for several devices of one model repeat its name. Default: each is on every GPU, or where there is none on"
        " the CPU, and what waits goes to the first that is free.",
    )
    max_upload_bytes: Annotated[int, Field(ge=1024)] = Field(
        default=40 * 2**20,
        description="Bytes of one request body, and of what one file may decompress to: an image and a reference of"
        " `max_pixels` as float32, and their headers.",
    )
    max_pixels: Annotated[int, Field(ge=1)] = Field(
        default=2048 * 2048,
        description="Rows x columns of one image. Several copies of it are in memory while it is decoded, restored and"
        " encoded, beside what a run of the model needs (`tile_pixels`).",
    )
    batch_pixels: Annotated[int, Field(ge=1)] = Field(
        default=4 * 512 * 512,
        description="Images that wait share a run of the model as far as they have no more pixels together, and as that"
        " is faster, which is measured at warm-up; nothing waits for others to come. Each run then needs as much memory"
        " as one image of so many pixels. 1: each by itself.",
    )
    tile_pixels: Annotated[int, Field(ge=512 * 512)] = Field(
        default=2048 * 2048,
        description="Larger images, which `max_pixels` must allow, are restored in tiles of about so many pixels,"
        " without seams. A U-Net holds about 1 kB for each while it runs: 4 GB here.",
    )
    max_frames: Annotated[int, Field(ge=1)] = Field(
        default=64,
        description="Images in one file (Enhanced CT, TIFF pages, NPY stacks). All of one file, as float32, must also"
        " fit `max_upload_bytes`: 40 of 512x512. Without a GPU the model takes 0.1 to 1 s for each, and"
        " `request_timeout` is for all of them.",
    )
    max_requests: Annotated[int, Field(ge=1)] = Field(
        default=48,
        description="Image requests in progress, uploads included; more are answered 429 at once. With"
        " `max_upload_bytes` it bounds the memory of request bodies (2 GB here).",
    )
    max_queue: Annotated[int, Field(ge=1)] = Field(
        default=32,
        description="Images that wait for the device; more are answered 429, and so is who would wait for too long.",
    )
    request_timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=60.0,
        description="Seconds from the end of the upload to the answer; a client may ask for less, not for more.",
    )
    upload_timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=60.0,
        description="Seconds that a client has to send its body, so that slow ones do not hold their places.",
    )
    spool: Path | None = Field(
        default=None,
        description="Folder in which jobs (whole series) are kept until they are fetched or expire; their images are"
        " written there, readable by the server's user only. Default: none, so that no image ever touches a disk, and"
        " `/v1/jobs` takes none.",
    )
    spool_reserve: Annotated[int, Field(ge=0)] = Field(
        default=2**30, description="Bytes of the spool's disk that stay free: jobs that would take them are refused."
    )
    max_jobs: Annotated[int, Field(ge=1)] = Field(
        default=32, description="Jobs that wait or run; more are answered 429."
    )
    jobs_at_once: Annotated[int, Field(ge=1)] = Field(
        default=2, description="Jobs that run at once and share the device, so that a short one passes a long one."
    )
    max_job_bytes: Annotated[int, Field(ge=1024)] = Field(
        default=2 * 2**30,
        description="Bytes of a job's upload, and of all that it unpacks to: 4000 slices of 512x512. The disk of the"
        " spool holds both, and the result.",
    )
    job_upload_timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=900.0, description="Seconds that a client has to send a job."
    )
    job_retention: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=24 * 3600.0, description="Seconds that a job is kept after it has ended; then its images are removed."
    )
    jobs_database: SecretStr = Field(
        default=SecretStr(""),
        description="PostgreSQL database that keeps jobs, and the work of a PACS node, in order, as in"
        " postgresql://user:password@host/clearslice; several spools may share one. It holds ids only, and losing it"
        " loses no job. Default: an SQLite file in the spool.",
    )
    pacs: Path | None = Field(
        default=None,
        description="pacs.toml, which makes this server a PACS node: who may send it series, and where their"
        " reconstructions go. Needs `spool`. Default: none.",
    )
    drain_seconds: Annotated[int, Field(ge=0)] = Field(
        default=70,
        description="Seconds after SIGTERM in which accepted requests finish: `request_timeout` and a reserve.",
    )
    stall_seconds: Annotated[float, Field(gt=0)] = Field(
        default=300.0,
        description="A run on the device that takes longer is stuck: the service then reports itself not ready.",
    )
    codec_threads: Annotated[int, Field(ge=1)] = Field(
        default=max(1, min(4, (os.cpu_count() or 1) // 2)),
        description="Threads that decode and encode, beside the event loop. Default: half the cores, at most 4; without"
        " a GPU the model wants all of them, and every other thread takes from it.",
    )
    codec_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        default=15.0,
        description="Seconds for a native decoder (compressed DICOM, TIFF) in its worker process, of which there are"
        " `codec_threads`. Its memory follows from the size of the image.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level of the JSON log lines on standard error."
    )
    dicom: SiteConventions = Field(default=SiteConventions(), description="Conventions of derived DICOM instances.")
    web_concurrency: int = Field(
        default=1,
        validation_alias="WEB_CONCURRENCY",
        description="Workers that uvicorn would start; only 1 is allowed.",
    )

    def knows_clients(self) -> bool:
        """Whether clients have to say who they are, by API key or token."""
        return self.api_keys_file is not None or bool(self.jwt_issuer)

    def limits(self) -> Limits:
        """Of one image file."""
        return Limits(max_bytes=self.max_upload_bytes, max_pixels=self.max_pixels, max_frames=self.max_frames)

    @field_validator("preload", "allowed_hosts", mode="before")
    @classmethod
    def _split_list(cls, value: object) -> object:
        return tuple(item.strip() for item in value.split(",") if item.strip()) if isinstance(value, str) else value

    @field_validator("allowed_hosts")
    @classmethod
    def _host_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not all(name == "*" or _HOST_NAME.fullmatch(name) for name in names):
            raise ValueError("each must be a name as in ct.example.org, *.example.org or *, without scheme and port")
        return tuple(name.lower() for name in names)

    @field_validator("placement", mode="before")
    @classmethod
    def _split_pairs(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = (item.partition("=") for item in value.split(",") if item.strip())
        return tuple((name.strip(), device.strip().upper()) for name, _, device in pairs)

    @field_validator("placement")
    @classmethod
    def _known_kinds(cls, pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        if not all(name and _DEVICE.fullmatch(device) for name, device in pairs):
            raise ValueError("each must be NAME=DEVICE, as in ct-l2=GPU:0")
        return pairs

    @field_validator("warm_sizes", mode="before")
    @classmethod
    def _split_sizes(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(tuple(size.strip().lower().split("x")) for size in value.split(",") if size.strip())

    @field_validator("warm_sizes")
    @classmethod
    def _positive_sizes(cls, sizes: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        if any(min(size) < 1 for size in sizes):
            raise ValueError("each size must be HxW with both at least 1, as in 512x512")
        return sizes


def check_exposure(settings: Settings) -> None:
    """Refuses settings with which the service would be open to others, or would not keep its promises.

    Raises:
        UnsafeConfiguration: a host beyond loopback without keys, tokens or `allow_anonymous`; keys of tokens
            that would come over http; or more than one worker.
    """
    if not is_loopback(settings.host) and not settings.knows_clients() and not settings.allow_anonymous:
        raise UnsafeConfiguration(
            f"host {settings.host!r} is reachable from other machines, and without API keys anyone who reaches it could"
            " send images. Make a key with `clearslice keys new --name NAME --scope reconstruct --file keys` and set"
            f" {environment_name('api_keys_file')}=keys; or bind 127.0.0.1; or, only if all who reach the network may"
            f" use the service, set {environment_name('allow_anonymous')}=1"
        )
    issuer = urlsplit(settings.jwt_issuer)
    if issuer.scheme == "http" and not is_loopback(issuer.hostname or ""):
        raise UnsafeConfiguration(
            f"{environment_name('jwt_issuer')} is an http address, over which anyone on the way could replace the keys"
            " that tokens are checked with; use https"
        )
    if settings.web_concurrency != 1:
        raise UnsafeConfiguration(
            f"WEB_CONCURRENCY is {settings.web_concurrency}, and only 1 is allowed: the model, its queue and its limits"
            " live in one process for all devices, and a second worker would load it twice and halve what both promise"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`; a name other than localhost is taken as reachable."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False

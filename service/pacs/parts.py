"""What the parts of pacs.toml are made of: AE titles, files beside it, lists, times, certificates.

text of pacs.toml --validated--> value     ValueError, which says what would be right
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator

_AE_TITLE = re.compile(r"[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?")


def _beside(value: object, info: ValidationInfo) -> object:
    """A file name as of the folder in which the configuration lies."""
    folder = (info.context or {}).get("folder")
    return Path(folder, value) if isinstance(value, str) and folder is not None else value


def _listed(value: object) -> object:
    """One text is a list of it."""
    return [value] if isinstance(value, str) else value


def _ae_title(value: object) -> object:
    if not isinstance(value, str) or not _AE_TITLE.fullmatch(value):
        raise ValueError("an AE title has 1 to 16 printable ASCII characters without backslash (PS3.5 6.2)")
    return value


AeTitle = Annotated[str, BeforeValidator(_ae_title)]
File = Annotated[Path, BeforeValidator(_beside)]
Patterns = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Part(BaseModel):
    """Of pacs.toml: frozen, and what it does not know is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Tls(Part):
    """Certificates, in PEM files.

    Attributes:
        certificate, key: our own; of a peer, shown where it wants one (mutual TLS).
        authority: which signs the others' certificates; of the node, then only callers with one are let in. Without,
            those of the system are taken for peers.
    """

    certificate: File | None = None
    key: File | None = None
    authority: File | None = None

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: give both or neither")
        return self

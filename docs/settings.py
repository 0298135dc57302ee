"""docs/settings.md: every setting with its environment variable, default and meaning, from `service.settings` itself.

Settings, SiteConventions --fields--> table --write--> docs/settings.md
`make docs` writes it; tests/test_settings_page.py says when it is out of date.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from annotated_types import Ge, Gt, Interval, Le, Lt
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from service.settings import PREFIX, Settings

PAGE = Path(__file__).with_name("settings.md")

HEAD = """# Settings

All settings of the service are environment variables, read once at the start; options of `clearslice serve` win over
them. An empty variable counts as unset, and an impossible value ends the start with a message that names the variable.
Lists are comma-separated. `make docs` writes this page from `service/settings.py`; a test compares it.

"""

DICOM = """
## Conventions of derived DICOM

"""

COLUMNS = "| variable | default | values | meaning |\n|---|---|---|---|\n"

MACHINE_DEPENDENT = {"codec_threads": "half the cores, 1 to 4", "published": "the versions that ship with the program"}
"""Defaults that differ between machines, in words, so that the page is the same everywhere."""

TYPE_NAMES = {bool: "0 or 1", int: "integer", float: "number", str: "text", SecretStr: "text", Path: "path"}

SIGNS = ((Ge, "ge", ">="), (Gt, "gt", ">"), (Le, "le", "<="), (Lt, "lt", "<"))


def page() -> str:
    """The text of docs/settings.md."""
    plain = {name: field for name, field in Settings.model_fields.items() if _nested(field) is None}
    nested = {name: model for name, field in Settings.model_fields.items() if (model := _nested(field)) is not None}
    text = HEAD + COLUMNS + "".join(_row(name, field, PREFIX) for name, field in plain.items())
    for name, model in nested.items():
        text += DICOM + COLUMNS
        text += "".join(_row(inner, field, f"{PREFIX}{name.upper()}__") for inner, field in model.model_fields.items())
    return text


def _nested(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _row(name: str, field: FieldInfo, prefix: str) -> str:
    variable = field.validation_alias if isinstance(field.validation_alias, str) else prefix + name.upper()
    meaning = " ".join((field.description or "").split())
    cells = (f"`{variable}`", _default(name, field), _values(field), meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _default(name: str, field: FieldInfo) -> str:
    if name in MACHINE_DEPENDENT:
        return MACHINE_DEPENDENT[name]
    value = field.default
    if value is None or value == () or value == SecretStr(""):
        return "none"
    if isinstance(value, bool):
        return f"`{int(value)}`"
    if isinstance(value, tuple):
        return f"`{','.join('x'.join(map(str, item)) if isinstance(item, tuple) else str(item) for item in value)}`"
    return f"`{value}`"


def _values(field: FieldInfo) -> str:
    """What may be given, in words: the type, or the choices, and the limits."""
    kind: Any = field.annotation
    if typing.get_origin(kind) in {typing.Union, types.UnionType}:
        (kind,) = (item for item in typing.get_args(kind) if item is not types.NoneType)
    if typing.get_origin(kind) is typing.Literal:
        return ", ".join(f"`{choice}`" for choice in typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        return "list"
    limits = ", ".join(_limits(field))
    return f"{TYPE_NAMES[kind]} {limits}".strip()


def _limits(field: FieldInfo) -> Iterator[str]:
    for constraint in field.metadata:
        for kind, attribute, sign in SIGNS:
            if isinstance(constraint, kind | Interval) and getattr(constraint, attribute) is not None:
                yield f"{sign} {getattr(constraint, attribute)}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

"""Model refs: text from people and from the network -> a name with a version or a label.

    "ct-l2"  "ct-l2@3"  "ct-l2@stable"  --parse_ref--> Ref      anything else --> InvalidRef

Names become folder names, so only this grammar ever reaches the file system: no slash, no dot, no quote, no space.
A label starts with a letter, so that it can never be read as a version.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from model_store.errors import InvalidRef
from model_store.manifest import NAME_PATTERN

LABEL_PATTERN = r"[a-z][a-z0-9-]{0,63}"
VERSION_PATTERN = r"[1-9][0-9]{0,8}"
"""No leading zeros (TensorFlow Serving would read `007` as 7), and far inside its 64-bit integers."""

ECHO_CHARACTERS = 60
"""How much of a refused text a message repeats: enough to recognise a typing error, too little to flood a log."""


@dataclass(frozen=True)
class Ref:
    """A parsed model ref; at most one of `version` and `label` is set."""

    name: str
    version: int | None = None
    label: str | None = None

    def __str__(self) -> str:
        selector = self.label if self.version is None else str(self.version)
        return self.name if selector is None else f"{self.name}@{selector}"


def echo(text: str) -> str:
    """`text` quoted in ASCII and cut to `ECHO_CHARACTERS`, safe to put into a message or a log line."""
    return ascii(text) if len(text) <= ECHO_CHARACTERS else f"{text[:ECHO_CHARACTERS]!a}... ({len(text)} characters)"


def parse_ref(text: str) -> Ref:
    """The ref that `text` spells.

    Raises:
        InvalidRef: the text is not `name`, `name@3` or `name@stable`.
    """
    name, at, selector = text.partition("@")
    if re.fullmatch(NAME_PATTERN, name):
        if not at:
            return Ref(name)
        if re.fullmatch(VERSION_PATTERN, selector):
            return Ref(name, version=int(selector))
        if re.fullmatch(LABEL_PATTERN, selector):
            return Ref(name, label=selector)
    raise InvalidRef(
        f"{echo(text)} is no model ref: write a name (lower-case letters, digits and '-', at most 64), and after it"
        " '@' with a version (name@3) or a label (name@stable) to choose one"
    )


def check_name(name: str) -> str:
    """`name` itself if it is a model name.

    Raises:
        InvalidRef: it is not.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise InvalidRef(f"{echo(name)} is no model name: lower-case letters, digits and '-', at most 64, as in ct-l2")
    return name


def check_label(label: str) -> str:
    """`label` itself if it is a label.

    Raises:
        InvalidRef: it is not.
    """
    if not re.fullmatch(LABEL_PATTERN, label):
        raise InvalidRef(
            f"{echo(label)} is no label: a lower-case letter, then letters, digits and '-', at most 64, as in stable"
        )
    return label

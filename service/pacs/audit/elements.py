"""Elements of an audit message, with the attributes of the schema (PS3.15 A.5.1); pure.

    texts --clean--> elements --document--> bytes, on one line

Texts come from files and from the network. XML 1.0 has no way to write most control characters, not even escaped;
they become U+FFFD, so that it shows that something stood there.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from xml.etree.ElementTree import Element, SubElement, tostring

from service.pacs.audit.codes import Code

LONGEST = 1024
"""Characters of one text. A patient's name has 3 x 64 (PS3.5 6.2); who sends more shall not fill the trail with it."""

REPLACEMENT = "\ufffd"

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""All that is no `Char` of XML 1.0 (section 2.2)."""

_DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>'

_MACHINE_NAME, _IP_ADDRESS, _URI = "1", "2", "5"
"""NetworkAccessPointTypeCode."""


def clean(text: str) -> str:
    """The text as XML can hold it, cut at `LONGEST` characters, which an ellipsis then shows."""
    shortened = text if len(text) <= LONGEST else text[: LONGEST - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return _FORBIDDEN.sub(REPLACEMENT, shortened)


def base64_of(text: str) -> str:
    """The text, cleaned, in UTF-8, as xsd:base64Binary."""
    return base64.b64encode(clean(text).encode()).decode("ascii")


def document(root: Element) -> bytes:
    """The XML document, UTF-8, without a line break.

    A line break inside a text is written as a reference: a parser would turn a bare CR into LF, and one message is one
    line of a file. ElementTree does so in attributes and not in elements; between elements there is none.
    """
    body = tostring(root, encoding="unicode").encode()
    return _DECLARATION + body.replace(b"\r", b"&#13;").replace(b"\n", b"&#10;")


def put(parent: Element, name: str, attributes: dict[str, str] | None = None, *, text: str | None = None) -> Element:
    """A new last child of `parent`, its texts cleaned."""
    made = SubElement(parent, name, {key: clean(value) for key, value in (attributes or {}).items()})
    made.text = None if text is None else clean(text)
    return made


def put_code(parent: Element, name: str, code: Code) -> None:
    """A coded value, with what the schema requires of it."""
    put(parent, name, {"csd-code": code.value, "codeSystemName": code.system, "originalText": code.meaning})


def network_access(host: str) -> dict[str, str]:
    """The attributes of where somebody is: address, URI or machine name; none for nowhere."""
    if not host:
        return {}
    return {"NetworkAccessPointID": host, "NetworkAccessPointTypeCode": _kind(host)}


def _kind(host: str) -> str:
    if "://" in host:
        return _URI
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return _MACHINE_NAME
    return _IP_ADDRESS

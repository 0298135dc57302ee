"""The part [audit] of pacs.toml: where the audit trail goes, and under which name.

[audit]
syslog = "tls://audit.example.org:6514"
site = "Example Hospital"

[audit.tls]
certificate = "node.pem"
key = "node.key"
authority = "hospital-ca.pem"
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from service.pacs.audit.collector import parse_address
from service.pacs.parts import File, Part, Tls


def _address(text: str) -> str:
    parse_address(text)
    return text


class Audit(Part):
    """Where the audit trail goes; one of `file` and `syslog`.

    Attributes:
        file: to which messages are appended, one on a line; holds patient data. logrotate may rename it.
        syslog: address of a collector: tls://host:6514, or within a trusted network tcp://host:port, udp://host:514,
            where messages, and the patient data in them, are readable for all on the way.
        tls: for a tls address: our certificate, and who signs the collector's.
        source: AuditSourceID; without, the AE title of the node.
        site: AuditEnterpriseSiteID.
    """

    file: File | None = None
    syslog: Annotated[str, AfterValidator(_address)] | None = None
    tls: Tls | None = None
    source: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    site: Annotated[str, Field(min_length=1, max_length=64)] | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.file is None) == (self.syslog is None):
            raise ValueError("audit goes to either file or syslog")
        if self.tls is not None and (self.syslog is None or parse_address(self.syslog).scheme != "tls"):
            raise ValueError("tls belongs to a syslog address that begins with tls://")
        return self

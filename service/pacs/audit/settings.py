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

from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetPydanticSchema,
    model_validator,
)

from service.pacs.audit.collector import parse_address


def _address(text: str) -> str:
    parse_address(text)
    return text


if TYPE_CHECKING:
    from service.pacs.configuration import File, Tls
else:
    # `configuration` imports this module, so that its types are looked up when the model is first used, or a part of
    # its own model, and not when this is imported.
    def _late(name: str) -> GetPydanticSchema:
        def schema(_: Any, handler: GetCoreSchemaHandler) -> Any:
            from service.pacs import configuration  # noqa: PLC0415 - see above

            return handler(getattr(configuration, name))

        return GetPydanticSchema(schema)

    File = Annotated[Any, _late("File")]
    Tls = Annotated[Any, _late("Tls")]


class Audit(BaseModel):
    """Where the audit trail goes; one of `file` and `syslog`.

    Attributes:
        file: to which messages are appended, one on a line; holds patient data. logrotate may rename it.
        syslog: address of a collector: tls://host:6514, or within a trusted network tcp://host:port, udp://host:514,
            where messages, and the patient data in them, are readable for all on the way.
        tls: for a tls address: our certificate, and who signs the collector's.
        source: AuditSourceID; without, the AE title of the node.
        site: AuditEnterpriseSiteID.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

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

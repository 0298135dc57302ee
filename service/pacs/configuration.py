"""pacs.toml: who this node is, whom it knows, and which series goes where.

    pacs.toml --read_configuration--> Configuration: node, peers, rules
                InvalidConfiguration, which names the line's place and what is wrong with it

    [node]
    aet = "CLEARSLICE"
    port = 11112

    [peers.archive]
    aet = "ARCHIVE"
    host = "10.1.2.3"
    port = 104
    may_send = true

    [[rules]]
    name = "soft kernels"
    kernel = ["B30*", "Br40*"]
    model = "ct-l2"
    to = ["archive"]

    [[rules]]
    name = "everything else"
    action = "refuse"

Files that it names are looked for beside it. Passwords and tokens are in files of their own, so that this one may be
shown to anybody.
"""

from __future__ import annotations

import ipaddress
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, model_validator

from model_store.errors import InvalidRef
from model_store.refs import parse_ref
from service.errors import InvalidConfiguration
from service.pacs.audit.settings import Audit
from service.pacs.parts import AeTitle, File, Part, Patterns, Port, Seconds, Tls
from service.settings import is_loopback

NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$"
_MOST_BYTES = 1 << 20
_AUTO = "auto"


class Node(Part):
    """This node.

    Attributes:
        aet: its AE title, of what it receives and sends.
        host, port: where it takes associations; no port: none.
        tls: for these.
        apart: whether `clearslice pacs listen` receives, in a process of its own that survives this one.
        drop: folder into which files may be put instead of sending them; what was taken is removed from it.
        any_caller: whether who is no peer with `may_send` may send, too; also from anywhere.
        associations: at once; more are rejected, which senders take for "try again".
        pdu_bytes: of the largest message part that is taken.
        idle_seconds: after which a silent association is ended.
        quiet_seconds: a series is complete when nothing came for so long, and no association of it is open.
        longest_seconds: a series is taken for complete so long after its first instance, whatever still comes.
        reserve: bytes of the disk that stay free; what would take them is refused as "out of resources".
        retention_seconds: sources and derived instances are kept so long after all was delivered and verified.
        commit_by: name of the DICOMweb peer that is asked when somebody wants this node to keep what it sent (storage
            commitment); without, it commits to nothing, since it is no archive.
        remember_days: so long it is known which instances came, so that one sent again is not restored again.
    """

    aet: AeTitle = "CLEARSLICE"
    host: str = "127.0.0.1"
    port: Port | None = None
    tls: Tls | None = None
    apart: bool = False
    drop: File | None = None
    any_caller: bool = False
    associations: Annotated[int, Field(ge=1, le=200)] = 10
    pdu_bytes: Annotated[int, Field(ge=4096, le=1 << 24)] = 1 << 17
    idle_seconds: Seconds = 60.0
    quiet_seconds: Seconds = 60.0
    longest_seconds: Seconds = 3600.0
    reserve: Annotated[int, Field(ge=0)] = 1 << 30
    retention_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 24 * 3600.0
    commit_by: str | None = None
    remember_days: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 90.0

    @model_validator(mode="after")
    def _exposed(self) -> Self:
        if self.any_caller and not is_loopback(self.host):
            raise ValueError("any_caller is for loopback only: name those who may send as peers with may_send = true")
        if self.tls is not None and self.tls.certificate is None:
            raise ValueError("tls of the node needs a certificate and its key")
        return self


class Peer(Part):
    """Another node: by DIMSE (aet, host, port), by DICOMweb (url), or a folder.

    Attributes:
        aet, host, port: of its DIMSE service; `aet` and `host` also say who calls.
        url: of its DICOMweb service, to which /studies is appended.
        folder: in which instances are filed, by study and series.
        tls: for DIMSE, and for an https url.
        may_send: whether it may send us instances by DIMSE; by DICOMweb a key decides. With verify = "commitment" it
            may call without it, to say what it keeps.
        addresses: from which it calls, as addresses or networks; without, those of `host`.
        username, password_file: for HTTP basic authentication.
        token_file: for bearer authentication.
        verify: how it is made sure that it keeps what it took: commitment (DIMSE), count (QIDO of `ask`), none.
        ask: name of the DICOMweb peer that is asked for the count; without, itself.
        retry_seconds: before the second attempt; doubled for each further one, up to an hour.
        give_up_seconds: after the first attempt; then it is a dead letter.
        timeout_seconds: without an answer.
        verify_seconds: so long it may take until it says that it keeps what it took.
        compress: lossless compression of what it is sent; none: as it was made, Explicit VR Little Endian.
        deidentify: whether it gets derived instances without identities (PS3.15 annex E, basic profile).
    """

    aet: AeTitle | None = None
    host: str | None = None
    port: Port | None = None
    url: Annotated[str, Field(pattern=r"^https?://[^\s/?#]+[^\s?#]*$")] | None = None
    folder: File | None = None
    tls: Tls | None = None
    may_send: bool = False
    addresses: Patterns = ()
    username: str | None = None
    password_file: File | None = None
    token_file: File | None = None
    verify: Literal["commitment", "count", "none"] | None = None
    ask: str | None = None
    retry_seconds: Seconds = 10.0
    give_up_seconds: Seconds = 3 * 24 * 3600.0
    timeout_seconds: Seconds = 60.0
    verify_seconds: Seconds = 3600.0
    compress: Literal["none", "jpeg-ls", "jpeg-2000", "rle"] = "none"
    deidentify: bool = False

    @property
    def kind(self) -> Literal["dimse", "dicomweb", "folder"]:
        """How it is reached."""
        return "dimse" if self.aet is not None else "dicomweb" if self.url is not None else "folder"

    @property
    def verification(self) -> Literal["commitment", "count", "none"]:
        """As configured, or the usual one of its kind."""
        usual: Literal["count", "none"] = "count" if self.kind == "dicomweb" or self.ask is not None else "none"
        return self.verify or usual

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if [self.aet is not None, self.url is not None, self.folder is not None].count(True) != 1:
            raise ValueError("a peer has either aet, host and port (DIMSE), or url (DICOMweb), or folder")
        self._check_way()
        self._check_secrets()
        for address in self.addresses:
            ipaddress.ip_network(address, strict=False)
        if self.may_send and not self.addresses and self.host is None:
            raise ValueError("may_send needs host or addresses: from where it calls")
        return self

    def _check_way(self) -> None:
        if self.kind == "dimse" and (self.host is None) != (self.port is None) and not self.may_send:
            raise ValueError("host and port belong together: where it takes associations")
        if self.kind != "dimse" and (self.host is not None or self.port is not None or self.may_send):
            raise ValueError("host, port and may_send belong to a peer with an aet")
        if self.verify == "commitment" and self.kind != "dimse":
            raise ValueError("verify = 'commitment' is a service of DIMSE; a DICOMweb peer is asked with 'count'")
        if self.verify == "count" and self.kind != "dicomweb" and self.ask is None:
            raise ValueError("verify = 'count' asks a DICOMweb peer: name it with ask")

    def _check_secrets(self) -> None:
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file belong together")
        if self.token_file is not None and self.username is not None:
            raise ValueError("either username and password_file, or token_file")
        secret = self.username is not None or self.token_file is not None
        if secret and self.url is None:
            raise ValueError("username and token_file belong to a peer with a url")
        if secret and self.url is not None and not self.url.startswith("https:") and not _near(self.url):
            raise ValueError("a password or token would cross the network in the clear: use https")


class Rule(Part):
    """What happens to the series that fit all its conditions; the first rule that fits decides.

    Conditions are patterns (`*` any text, `?` one character), of which one has to fit, whatever the case; a
    condition that is not given fits everything.

    Attributes:
        name: in answers, records and logs.
        modality, description, study_description, protocol, kernel, body_part, station, manufacturer, scanner:
            Modality, SeriesDescription, StudyDescription, ProtocolName, ConvolutionKernel, BodyPartExamined,
            StationName, Manufacturer, ManufacturerModelName.
        sender: AE title that sent it, or the name of the API key.
        action: reconstruct; keep (acknowledged, kept for `retention_seconds`, nothing made of it); refuse.
        model: ref, or auto; without, the default of the store.
        strength: 0 to 1.
        to: names of peers that get the derived series.
        expect: name of the DICOMweb peer that is asked how many instances the series has.
    """

    name: Annotated[str, Field(min_length=1, max_length=64)]
    modality: Patterns = ()
    description: Patterns = ()
    study_description: Patterns = ()
    protocol: Patterns = ()
    kernel: Patterns = ()
    body_part: Patterns = ()
    station: Patterns = ()
    manufacturer: Patterns = ()
    scanner: Patterns = ()
    sender: Patterns = ()
    action: Literal["reconstruct", "keep", "refuse"] = "reconstruct"
    model: str | None = None
    strength: Annotated[float, Field(ge=0, le=1)] = 1.0
    to: Patterns = ()
    expect: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.action == "reconstruct" and not self.to:
            raise ValueError("a rule that reconstructs needs to: the peers that get the derived series")
        if self.action != "reconstruct" and (self.to or self.model is not None):
            raise ValueError("model and to belong to a rule that reconstructs")
        if self.model is not None and self.model != _AUTO:
            try:
                parse_ref(self.model)
            except InvalidRef as error:
                raise ValueError(str(error)) from None
        return self


class Configuration(Part):
    """All of pacs.toml."""

    node: Node = Node()
    audit: Audit | None = None
    peers: dict[Annotated[str, Field(pattern=NAME)], Peer] = Field(default_factory=dict)
    rules: tuple[Rule, ...] = ()

    @model_validator(mode="after")
    def _known(self) -> Self:
        names = [rule.name for rule in self.rules]
        if len(set(names)) < len(names):
            raise ValueError("two rules have the same name")
        for rule in self.rules:
            for name in rule.to:
                self._reachable(name, f"rule {rule.name!r}: to")
            if rule.expect is not None:
                self._askable(rule.expect, f"rule {rule.name!r}: expect")
        if self.node.commit_by is not None:
            self._askable(self.node.commit_by, "node: commit_by")
        for name, peer in self.peers.items():
            if peer.ask is not None:
                self._askable(peer.ask, f"peer {name!r}: ask")
            if peer.verification == "commitment" and self.node.port is None:
                raise ValueError(
                    f"peer {name!r}: verify = 'commitment' needs a port of the node: the report comes on an association"
                    " of the peer's own"
                )
        return self

    def _reachable(self, name: str, where: str) -> None:
        if name not in self.peers:
            raise ValueError(f"{where} names {name!r}, and there is no such peer")
        peer = self.peers[name]
        for what, value in (("host", peer.host), ("port", peer.port)):
            if peer.kind == "dimse" and value is None:
                raise ValueError(f"{where} names {name!r}, which has no {what} to send to")

    def _askable(self, name: str, where: str) -> None:
        if name not in self.peers or self.peers[name].kind != "dicomweb":
            raise ValueError(f"{where} must name a peer with a url")


def read_configuration(path: Path) -> Configuration:
    """The configuration in a file.

    Raises:
        InvalidConfiguration: it cannot be read, is no TOML, or something in it is wrong; all of it is told.
    """
    try:
        data = path.read_bytes()
        if len(data) > _MOST_BYTES:
            raise InvalidConfiguration(f"{path} has more than {_MOST_BYTES} bytes; it is no pacs.toml")
        found = tomllib.loads(data.decode("utf-8"))
    except OSError as error:
        raise InvalidConfiguration(f"{path} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidConfiguration(f"{path} is no TOML file: {error}") from None
    return parse_configuration(found, folder=path.absolute().parent, name=str(path))


def parse_configuration(found: dict[str, Any], *, folder: Path, name: str = "pacs.toml") -> Configuration:
    """The configuration of a parsed file; raises as `read_configuration`."""
    try:
        return Configuration.model_validate(found, context={"folder": folder})
    except ValidationError as error:
        told = (
            f"{_place(item['loc'])}{item['msg'].removeprefix('Value error, ')}"
            for item in error.errors(include_url=False, include_context=False)
        )
        raise InvalidConfiguration(f"{name}: {'; '.join(told)}") from None


def _place(parts: tuple[int | str, ...]) -> str:
    """As a person would say where in the file it is; rules are counted from 1."""
    said = "".join(f" {part + 1}" if isinstance(part, int) else f".{part}" for part in parts).lstrip(".")
    return f"{said}: " if said else ""


def _near(url: str) -> bool:
    return is_loopback(urlsplit(url).hostname or "")

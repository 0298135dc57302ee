"""API keys: what the lines of a keys file mean, and which of them a request's key is. Pure; the file is keys_file.py's.

    "pacs  reconstruct  sha256:9f86..." --parse_keys--> ApiKey, ... --KeyRing.find(key of a request)--> ApiKey or None
                                        InvalidKeysFile

    # name         scopes               SHA-256 of the key
    pacs           reconstruct          sha256:5e88489...
    prometheus     read                 sha256:03ac674...
    ops            admin,reconstruct    sha256:15e2b0d...     # text after # is a comment

Only hashes are stored, so that reading the file lets nobody in. A plain SHA-256 is right here: a slow hash with a salt
protects passwords, which people choose and which can be guessed; a key is 256 random bits, which no speed of guessing
finds, and a slow hash would only make every request slow.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from enum import StrEnum

from service.errors import InvalidKeysFile

PREFIX = "clearslice_"
"""Of each key that is made here, so that scanners for leaked secrets and people recognise one."""

KEY_BYTES = 32
"""Of randomness in one key: as much as its hash has."""

MAX_KEYS = 1000
"""Each is compared with each request's key (0.2 us), and each is a label of a figure."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIGEST = re.compile(r"sha256:([0-9a-fA-F]{64})")
_FIELDS = 3


class Scope(StrEnum):
    """What a key is for. None includes another, except that every key may read."""

    READ = "read"
    """See models and figures."""

    RECONSTRUCT = "reconstruct"
    """Send images."""

    ADMIN = "admin"
    """Change what the server does."""


@dataclass(frozen=True)
class ApiKey:
    """One line of a keys file.

    Attributes:
        name: of the client, for logs and figures; not secret.
        scopes: at least one.
        digest: SHA-256 of the key, 32 bytes.
    """

    name: str
    scopes: frozenset[Scope]
    digest: bytes = field(repr=False)

    def allows(self, scope: Scope) -> bool:
        """Whether a holder of the key may do what needs `scope`."""
        return scope is Scope.READ or scope in self.scopes

    def line(self) -> str:
        """As it stands in a keys file."""
        return f"{self.name}  {','.join(sorted(self.scopes))}  sha256:{self.digest.hex()}"


@dataclass(frozen=True)
class KeyRing:
    """All keys that are valid at one moment; names and digests are unique."""

    keys: tuple[ApiKey, ...]

    def find(self, key: bytes) -> ApiKey | None:
        """The line that a request's key belongs to.

        Takes equally long whichever it is, or none: all are compared, each in constant time.
        """
        digest = digest_of(key)
        found = None
        for candidate in self.keys:
            if hmac.compare_digest(candidate.digest, digest):
                found = candidate
        return found


def digest_of(key: bytes) -> bytes:
    """What is stored of a key."""
    return hashlib.sha256(key).digest()


def new_key() -> str:
    """A fresh key: `PREFIX` and 43 characters of [A-Za-z0-9_-]."""
    return PREFIX + secrets.token_urlsafe(KEY_BYTES)


def is_name(text: str) -> bool:
    """Whether a key may be called so."""
    return _NAME.fullmatch(text) is not None


def parse_keys(text: str) -> KeyRing:
    """The keys of a whole file.

    Raises:
        InvalidKeysFile: names the line, and repeats nothing of it, since a key may stand where none belongs.
    """
    found: dict[str, ApiKey] = {}
    digests: dict[bytes, int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        fields = line.partition("#")[0].split()
        if not fields:
            continue
        key = _key(fields, number)
        if key.name in found:
            raise InvalidKeysFile(f"line {number}: the name was used above; each key needs its own")
        if key.digest in digests:
            raise InvalidKeysFile(f"line {number}: the same key as in line {digests[key.digest]}; make a new one")
        found[key.name], digests[key.digest] = key, number
    if not found:
        raise InvalidKeysFile("the file holds no key, so nobody could be let in; `clearslice keys new` makes one")
    if len(found) > MAX_KEYS:
        raise InvalidKeysFile(f"the file holds {len(found)} keys, and at most {MAX_KEYS} are allowed")
    return KeyRing(tuple(found.values()))


def _key(fields: list[str], number: int) -> ApiKey:
    if len(fields) != _FIELDS:
        raise InvalidKeysFile(
            f"line {number}: must be NAME SCOPES sha256:DIGEST, with commas and no spaces between scopes, as"
            f" `clearslice keys new` makes it; it has {len(fields)} of these {_FIELDS}"
        )
    name, scopes, digest = fields
    if not is_name(name):
        raise InvalidKeysFile(
            f"line {number}: the name must be 1 to 64 of A-Z a-z 0-9 . _ - and begin with a letter or digit"
        )
    named = scopes.split(",")
    if not set(named) <= set(Scope):
        raise InvalidKeysFile(f"line {number}: scopes are {', '.join(Scope)}, with commas and no spaces between")
    match = _DIGEST.fullmatch(digest)
    if match is None:
        raise InvalidKeysFile(
            f"line {number}: the third field must be sha256: and 64 hexadecimal digits, the hash of the key and not the"
            " key itself; if that line holds a real key, replace the key, since others may have read it"
        )
    return ApiKey(name, frozenset(Scope(scope) for scope in named), bytes.fromhex(match[1]))

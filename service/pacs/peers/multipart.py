"""multipart/related of DICOMweb (RFC 2387): many files into one body, one instance out of another.

files --Parts--> a body of known length, read from disk while it is sent
bytes of an answer --single_part--> the one instance in it     PeerUnavailable PeerRefused
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from email.message import Message

from service.pacs.peers import PeerRefused, PeerUnavailable
from service.pacs.peers.outgoing import Outgoing

CHUNK_BYTES = 1 << 16
"""What is in memory of a file while it is sent."""

_PART_HEADER = b"Content-Type: application/dicom\r\n\r\n"
_HEADER_END = b"\r\n\r\n"


class Parts:
    """DICOM files as a body. It has a length, since not every server takes chunked bodies.

    Args:
        files: each a part, byte for byte.

    Attributes:
        content_type: for the header of the request.
    """

    def __init__(self, files: Sequence[Outgoing]) -> None:
        self._files = files
        boundary = secrets.token_hex(16)  # nothing that a file could hold by chance, or know
        self.content_type = f'multipart/related; type="application/dicom"; boundary={boundary}'
        self._before = f"--{boundary}\r\n".encode() + _PART_HEADER
        self._end = f"--{boundary}--\r\n".encode()

    def __len__(self) -> int:
        return sum(len(self._before) + each.size + len(b"\r\n") for each in self._files) + len(self._end)

    def __iter__(self) -> Iterator[bytes]:
        for each in self._files:
            yield self._before
            with each.path.open("rb") as file:
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk
            yield b"\r\n"
        yield self._end


def single_part(name: str, content_type: str, body: bytes) -> bytes:
    """The only part of a multipart body; or the body, when it is none.

    Args:
        name: of the peer, for messages.
        content_type: header of the answer.
        body: whole.

    Raises:
        PeerUnavailable: it is cut off, or no multipart body.
        PeerRefused: it has several parts.
    """
    header = Message()
    header["Content-Type"] = content_type
    if header.get_content_type() == "application/dicom":
        return body
    boundary = header.get_boundary()
    if header.get_content_type() != "multipart/related" or not boundary:
        raise PeerUnavailable(f"peer {name!r} answers with something else than DICOM instances")
    delimiter = b"--" + boundary.encode("latin-1", "replace")
    begin = body.find(_HEADER_END, body.find(delimiter))
    end = body.find(b"\r\n" + delimiter, begin)
    after = body[end + 2 + len(delimiter) : end + 4 + len(delimiter)]
    if not body[:begin].count(delimiter) or end < 0 or len(after) < len(b"--"):
        raise PeerUnavailable(f"peer {name!r} broke off in the middle of an instance")
    if after != b"--":
        raise PeerRefused(f"peer {name!r} answers with several instances where it was asked for one")
    return body[begin + len(_HEADER_END) : end]

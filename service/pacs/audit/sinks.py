"""Where audit messages end: a file, or a syslog collector. Sinks block; `Backlog` gives them a thread.

Record --FileSink--> one line of XML, appended           --SyslogSink--> RFC 5424, over UDP, TCP or TLS
         OSError     (disk full, no folder)                OSError       (collector down)
                                                           Unsendable    (larger than a datagram)
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path
from typing import Protocol

from service.pacs.audit.collector import Address, connect, is_closed
from service.pacs.audit.facts import Record
from service.pacs.audit.syslog_format import octet_counted, syslog_message
from service.pacs.parts import Tls

MODE = 0o600
"""Of a file that is made: messages name patients. A file that is there keeps what the operator gave it."""


class Unsendable(Exception):
    """This message can never be sent; others can."""


class Sink(Protocol):
    """Takes one message after the other, on one thread."""

    def write(self, record: Record) -> None:
        """Takes a message, for good as far as it can tell.

        Raises:
            OSError: not now; it is to be tried again.
            Unsendable: never.
        """

    def close(self) -> None:
        """Lets go of what it holds. It may be written to again."""


class FileSink:
    """Appends messages to a file, each on a line of its own, and on the disk when `write` returns.

    A file that was renamed or removed (logrotate, without `copytruncate`) is made anew by the next message.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._torn = False

    def write(self, record: Record) -> None:
        """As `Sink`; a line that a full disk tore is ended before the message is written once more."""
        file = self._present()
        rest = (b"\n" if self._torn else b"") + record.xml + b"\n"
        while rest:
            rest = rest[os.write(file, rest) :]
            self._torn = bool(rest)
        if stat.S_ISREG(os.fstat(file).st_mode):  # a pipe or terminal cannot be flushed to a disk
            os.fsync(file)

    def close(self) -> None:
        """As `Sink`."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _present(self) -> int:
        """The file of that name, as of now."""
        if self._file is not None and not self._is_in_place(self._file):
            self.close()
        if self._file is None:
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE)
            self._torn = False
        return self._file

    def _is_in_place(self, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), self._path.stat())
        except FileNotFoundError:
            return False


class SyslogSink:
    """Sends messages to a collector, over one connection that is made when it is needed.

    Args:
        address: of it.
        tls: our certificate, and whom to trust; for `tls` addresses.
        host: HOSTNAME of messages; without, the machine's.
    """

    def __init__(self, address: Address, *, tls: Tls | None = None, host: str | None = None) -> None:
        self._address = address
        self._tls = tls
        self._host = socket.gethostname() if host is None else host
        self._connection: socket.socket | None = None

    def write(self, record: Record) -> None:
        """As `Sink`; a collector that closed a connection while nothing was said is connected to again."""
        message = syslog_message(record, host=self._host, process=os.getpid())
        try:
            self._send(message)
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                raise Unsendable(f"{len(message)} bytes are more than a datagram holds") from None
            self.close()
            raise

    def close(self) -> None:
        """As `Sink`."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _send(self, message: bytes) -> None:
        streamed = self._address.scheme != "udp"
        if streamed and self._connection is not None and is_closed(self._connection):
            self.close()
        if self._connection is None:
            self._connection = connect(self._address, self._tls)
        if streamed:
            self._connection.sendall(octet_counted(message))
        else:
            self._connection.send(message)

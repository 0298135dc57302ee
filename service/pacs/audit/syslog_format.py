"""Audit messages as syslog has them (RFC 5424, PS3.15 A.6 and A.7); pure.

Record --syslog_message--> <85>1 TIME HOST clearslice PID DICOM+RFC3881 - BOM XML --octet_counted--> a frame of a stream
"""

from __future__ import annotations

import re

from service.pacs.audit.codes import Outcome
from service.pacs.audit.facts import Record

APP_NAME = "clearslice"

MESSAGE_ID = "DICOM+RFC3881"
"""MSGID of messages that follow the DICOM schema (PS3.15 A.6, A.7); `IHE+RFC-3881` stands for the older one."""

_SECURITY = 10
"""Facility "security/authorization" (RFC 5424 6.2.1)."""

_NOTICE, _WARNING = 5, 4
"""Severities "normal but significant", which PS3.15 recommends, and "warning", for what failed."""

_LONGEST_HOST = 255
_UNPRINTABLE = re.compile(r"[^!-~]")

_BOM = b"\xef\xbb\xbf"
"""Says that UTF-8 follows (RFC 5424 6.4)."""


def syslog_message(record: Record, *, host: str, process: int) -> bytes:
    """One syslog message.

    Args:
        record: what it tells.
        host: HOSTNAME; what it cannot hold is left out, and nothing left is "-".
        process: PROCID.
    """
    severity = _NOTICE if record.outcome is Outcome.SUCCESS else _WARNING
    name = _UNPRINTABLE.sub("", host)[:_LONGEST_HOST] or "-"
    time = record.when.isoformat(timespec="milliseconds")
    head = f"<{_SECURITY * 8 + severity}>1 {time} {name} {APP_NAME} {process} {MESSAGE_ID} - "
    return head.encode("ascii") + _BOM + record.xml


def octet_counted(message: bytes) -> bytes:
    """A frame that tells its length (RFC 5425 4.3, RFC 6587 3.4.1)."""
    return b"%d %b" % (len(message), message)

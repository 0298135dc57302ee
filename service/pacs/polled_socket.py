"""pynetdicom's socket, which asks by poll() whether there is something to read: select() fails from 1024 open files on.

association --ready?--> poll --> bytes, or not yet
"""

from __future__ import annotations

import select
import ssl

from pynetdicom.transport import AssociationSocket


class PolledSocket(AssociationSocket):
    """Of an association, in either direction."""

    @property
    def ready(self) -> bool:
        """Whether there is something to read; whatever the number of the file descriptor, other than pynetdicom's."""
        connection = self.socket
        if connection is None or not self._is_connected:
            return False
        try:
            looking = select.poll()
            looking.register(connection, select.POLLIN)
            found = bool(looking.poll(0))
        except (OSError, ValueError):  # it is closed
            self.event_queue.put("Evt17")
            return False
        # what TLS has decrypted already is not seen from outside
        return found or (isinstance(connection, ssl.SSLSocket) and bool(connection.pending()))

"""TLS of a listening socket: its certificate, read again when the files change.

May live here: the context. May not: which protocol speaks in it.
"""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

from ess_ray.core.errors import BadRequest
from ess_ray.intake.listening.shapes import ListenAt

_log = logging.getLogger(__name__)


class Certificate:
    """The TLS context of one socket."""

    def __init__(self, at: ListenAt) -> None:
        """Raises BadRequest for files that cannot be used."""
        if at.cert_file is None or at.key_file is None:
            raise BadRequest(f"listeners.{at.protocol} needs cert_file and key_file")
        self._files = (at.cert_file, at.key_file)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # What rsyslog's gtls of Debian 12 offers at the most.
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        # A client that sends and closes with session tickets unread resets the connection, and its last words are lost.
        self.context.num_tickets = 0
        try:
            self.context.load_cert_chain(*self._files)
            if at.client_ca_file is not None:
                self.context.load_verify_locations(at.client_ca_file)
                self.context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ssl.SSLError) as error:
            raise BadRequest(f"the certificate of listeners.{at.protocol} cannot be used: {error}") from error
        self._seen = self._changed()

    def look(self) -> None:
        """Read the files again where they have changed; the old certificate stays while the new one cannot be used."""
        changed = self._changed()
        if changed == self._seen:
            return
        self._seen = changed
        try:
            self.context.load_cert_chain(*self._files)
            _log.info("the certificate %s has changed, and is used from now on", self._files[0])
        except (OSError, ssl.SSLError) as error:
            _log.error("the changed certificate %s cannot be used, the old one stays: %s", self._files[0], error)

    def _changed(self) -> list[int]:
        found = []
        for file in self._files:
            try:
                found.append(Path(file).stat().st_mtime_ns)
            except OSError:
                found.append(0)
        return found

"""TLS of a listening socket: its certificate, read again when the files change, and whose a client's certificate is."""

from __future__ import annotations

import logging
import re
import ssl
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from ess_ray.core.errors import BadRequest, Forbidden
from ess_ray.limits import ListenAt

_log = logging.getLogger(__name__)

_FINGERPRINT: Final = re.compile(r"(?:sha-?256:)?((?:[0-9a-f]{2}:?){31}[0-9a-f]{2})", re.IGNORECASE)
"""As openssl, RFC 5425 and browsers write it."""


class Certificate:
    """The TLS context of one socket."""

    def __init__(self, at: ListenAt) -> None:
        """Raises BadRequest for files that cannot be used."""
        if at.cert_file is None or at.key_file is None:
            raise BadRequest(f"listeners.{at.protocol} needs cert_file and key_file")
        self._pair, self._authority = (at.cert_file, at.key_file), at.client_ca_file
        self._seen = self._changed()
        self._flaw: str | None = None
        try:
            self._newest = self.context = self._read()
        except (OSError, ssl.SSLError) as error:
            raise BadRequest(f"the certificate of listeners.{at.protocol} cannot be used: {error}") from error
        # The socket keeps its first context; each handshake takes the newest one's certificates and authorities. That
        # is asked of a client that names no server, too.
        self.context.sni_callback = self._use_newest

    def look(self) -> str | None:
        """Read the files again where they have changed; the old ones stay while the new ones cannot be used, which is
        then what this gives: it is tried again, since a file that becomes readable need not look changed.

        Connections that stand are not asked again.
        """
        changed = self._changed()
        if changed == self._seen and self._flaw is None:
            return None
        self._seen = changed
        try:
            self._newest = self._read()
        except (OSError, ssl.SSLError) as error:
            flaw = f"the changed certificate {self._pair[0]} cannot be used, the old one stays: {error}"
            if flaw != self._flaw:
                _log.error("%s", flaw)
            self._flaw = flaw
        else:
            self._flaw = None
            _log.info("the certificate %s has changed, and is used from now on", self._pair[0])
        return self._flaw

    def _read(self) -> ssl.SSLContext:
        """Raises OSError, ssl.SSLError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # What rsyslog's gtls of Debian 12 offers at the most.
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # A client that sends and closes with session tickets unread resets the connection, and its last words are lost.
        context.num_tickets = 0
        context.load_cert_chain(*self._pair)
        if self._authority is not None:
            context.load_verify_locations(self._authority)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _use_newest(self, connection: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
        if connection.context is not self._newest:
            connection.context = self._newest

    def _changed(self) -> list[int]:
        found = []
        for file in (*self._pair, *([self._authority] if self._authority is not None else ())):
            try:
                found.append(Path(file).stat().st_mtime_ns)
            except OSError:
                found.append(0)
        return found


class CertificateTenants:
    """Whose connections are, by the certificates that their clients show. `otherwise`: of those that are not named;
    None: nobody's."""

    def __init__(self, tenants: Mapping[str, str], otherwise: str | None) -> None:
        self._tenants = {certificate_key(name): tenant for name, tenant in tenants.items()}
        self._otherwise = otherwise

    def tenant_of(self, shown: ssl.SSLObject) -> str:
        """Give the tenant of a client. Raises Forbidden where its certificate is nobody's."""
        content, told = shown.getpeercert(binary_form=True), shown.getpeercert()
        names = [] if content is None or not told else [sha256(content).hexdigest(), *_names_of(told)]
        for name in names:
            if (tenant := self._tenants.get(name)) is not None:
                return tenant
        if self._otherwise is None:
            raise Forbidden(f"no tenant is named for the certificate {', '.join(names[1:]) or names[:1]}")
        return self._otherwise


def certificate_key(name: str) -> str:
    """Give a certificate's name or SHA-256 fingerprint as it is compared: without regard to case and colons."""
    found = _FINGERPRINT.fullmatch(name.strip())
    return found[1].replace(":", "").lower() if found else name.strip().lower()


def _names_of(told: Mapping[str, Any]) -> Iterator[str]:
    """Give the names that an authority has vouched for: the DNS names, and behind them the common name."""
    yield from (value.lower() for kind, value in told.get("subjectAltName", ()) if kind == "DNS")
    for parts in told.get("subject", ()):
        yield from (value.lower() for kind, value in parts if kind == "commonName")

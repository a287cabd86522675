"""The handshake of the forward protocol: who knows a shared key is that key's tenant, and nobody else is heard.

Both sides show digests of the key with what the other side has made up. The digests need the key itself, of which keys
of ours keep nothing but a hash: so shared keys are settings of their own.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha512
from typing import Final

import msgpack

from ess_ray.intake.formats.forward_stream import Elements

NONCE_BYTES: Final = 16
MAX_PING_BYTES: Final = 8 * 1024
"""A PING holds names and digests. Nobody who is not let in yet has more of ours than this."""
_PING: Final = b"PING"
_PING_ELEMENTS: Final = 6
_NO_PING: Final = "a PING was expected"
_WRONG_KEY: Final = "shared_key mismatch"
_WRONG_USER: Final = "username/password mismatch"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a PING: whose connection it is, or why nobody's; `pong` is to be sent in either case."""

    pong: bytes
    tenant: str | None
    reason: str = ""


class Handshake:
    """The server's side for one connection. `shared_keys`: by tenant. `users`: passwords by name; if there are any, a
    client has to be one of them besides. `server_name`: clients refuse one that is named as they are themselves."""

    def __init__(
        self,
        shared_keys: Mapping[str, str],
        *,
        server_name: str,
        users: Mapping[str, str] | None = None,
        nonce: bytes | None = None,
        auth_salt: bytes | None = None,
    ) -> None:
        self._shared_keys, self._server_name, self._users = dict(shared_keys), server_name, dict(users or {})
        self._nonce = secrets.token_bytes(NONCE_BYTES) if nonce is None else nonce
        self._auth_salt = secrets.token_bytes(NONCE_BYTES) if auth_salt is None else auth_salt

    def helo(self) -> bytes:
        """Give what the server says first. The nonce is binary: Fluent Bit reads it as nothing else."""
        auth: bytes | str = self._auth_salt if self._users else ""
        said: bytes = msgpack.packb(["HELO", {"nonce": self._nonce, "auth": auth, "keepalive": True}])
        return said

    def answer(self, ping: Elements) -> Verdict:
        """Judge a PING. Every comparison takes the same time, whatever is wrong."""
        if len(ping) != _PING_ELEMENTS or not all(element.is_text for element in ping) or ping[0].content != _PING:
            return self._refused(_NO_PING)
        host, salt, shown, user, password = (element.content for element in ping[1:])
        tenant = None
        for name, shared_key in self._shared_keys.items():
            if hmac.compare_digest(shown, _hex(salt, host, self._nonce, shared_key.encode())):
                tenant = name
        if tenant is None:
            return self._refused(_WRONG_KEY)
        if self._users and not self._is_user(user, password):
            return self._refused(_WRONG_USER)
        server = self._server_name.encode()
        digest = _hex(salt, server, self._nonce, self._shared_keys[tenant].encode()).decode()
        return Verdict(_pong(True, "", self._server_name, digest), tenant)

    def _is_user(self, user: bytes, shown: bytes) -> bool:
        known = self._users.get(user.decode("utf-8", "replace"))
        # Compared in any case, so that the time taken does not tell which users there are.
        is_right = hmac.compare_digest(shown, _hex(self._auth_salt, user, (known or "").encode()))
        return is_right and known is not None

    @staticmethod
    def _refused(reason: str) -> Verdict:
        return Verdict(_pong(False, reason, "", ""), None, reason)


def _pong(is_right: bool, reason: str, server_name: str, digest: str) -> bytes:
    said: bytes = msgpack.packb(["PONG", is_right, reason, server_name, digest])
    return said


def _hex(*parts: bytes) -> bytes:
    digest = sha512()
    for part in parts:
        digest.update(part)
    return digest.hexdigest().encode()

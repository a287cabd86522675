"""The key in what `Authorization` says, in HTTP's header and in gRPC's metadata: agents have one envelope for it
each.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Final

from ess_ray.keys import id_of

_MAX_BASE64_CHARS: Final = 1_000
"""A key with a user's name: more is somebody else's ticket, and not ours to decode."""


def key_in(authorization: str) -> str:
    """Give the text of the key in it: the first that looks like one of ours, else an empty text."""
    return next((text for text in texts_in(authorization) if id_of(text) is not None), "")


def texts_in(authorization: str) -> Iterator[str]:
    """Give what may be a key: `Bearer K`, `Basic` of `anything:K` or `K:`, `ApiKey K` or of `id:K`, `Splunk K`; the
    scheme's case does not matter."""
    scheme, _, text = authorization.partition(" ")
    scheme, text = scheme.lower(), text.strip()
    if scheme in ("bearer", "splunk", "apikey"):
        yield text
    if scheme in ("basic", "apikey"):
        user, _, password = _decoded(text).partition(":")
        yield password
        yield user


def _decoded(text: str) -> str:
    """Decode base64, with or without its padding; nothing for what is none."""
    if len(text) > _MAX_BASE64_CHARS:
        return ""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return ""

"""Where a request carries its key: agents have one place for it each, and it is the same key in all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from starlette.requests import HTTPConnection

from ess_ray.intake.authorization import texts_in
from ess_ray.keys import id_of

_IN_ADDRESS: Final = ("dd-api-key", "token")
"""Parameters in which Datadog's and Splunk's clients may send it."""
KEY_IN_PATH: Final = "ess.key_in_path"
"""Where a request's scope holds the key that was taken out of its path (Datadog's `/v1/input/KEY`)."""


def key_of(request: HTTPConnection, in_addresses: bool = False) -> str:
    """Give the text of a request's key: the first that looks like one of ours, else an empty text.

    Looked at are `Authorization` (`Bearer K`, `Basic` of `anything:K` or `K:`, `ApiKey K` or of `id:K`, `Splunk K`; the
    scheme's case does not matter), then `DD-API-KEY`; and `?dd-api-key=`, `?token=` and what KEY_IN_PATH holds where
    the settings allow it, since addresses end up in other programs' logs.
    """
    return next((text for text in _candidates(request, in_addresses) if id_of(text) is not None), "")


def _candidates(request: HTTPConnection, in_addresses: bool) -> Iterator[str]:
    yield from texts_in(request.headers.get("authorization", ""))
    yield request.headers.get("dd-api-key", "").strip()
    if in_addresses:
        for name in _IN_ADDRESS:
            yield request.query_params.get(name, "")
        yield request.scope.get(KEY_IN_PATH, "")

"""The object store at an address: `s3://BUCKET/PREFIX` or `file:///FOLDER`, for programs that have no settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ess_ray.adapters.object_store import LocalObjectStore
from ess_ray.adapters.s3_location import DEFAULT_REGION, S3Location
from ess_ray.core.errors import BadRequest
from ess_ray.ports import ObjectStore


def open_store(url: str, environ: Mapping[str, str]) -> ObjectStore:
    """Give the object store at `url`. Makes no request. Raises BadRequest.

    Of `environ` count what AWS's own clients read: `AWS_ENDPOINT_URL_S3` (services other than AWS), `AWS_REGION`; the
    client itself finds credentials there.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" and not parts.netloc and parts.path:
        return LocalObjectStore(Path(unquote(parts.path)))
    if parts.scheme == "s3" and parts.netloc:
        return S3Location(
            parts.netloc,
            parts.path.strip("/"),
            environ.get("AWS_ENDPOINT_URL_S3") or None,
            region=environ.get("AWS_REGION", DEFAULT_REGION),
        ).open()
    raise BadRequest(f"{url!r} is no address of a store: use s3://BUCKET/PREFIX or file:///FOLDER")

"""Where a bucket is and how it is reached: one frozen value from which every client is built, in any process.

Three libraries speak to S3: obstore (objects), deltalake (the table's log) and boto3 (the bucket itself); each gets its
settings from this value, so that they cannot differ.
"""

from __future__ import annotations

import re
from dataclasses import KW_ONLY, dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from ess_ray.core.errors import BadRequest

if TYPE_CHECKING:
    from obstore.store import S3Store

    from ess_ray.adapters.s3_store import S3ObjectStore

DEFAULT_REGION: Final = "us-east-1"
CONNECT_TIMEOUT_S: Final = 5
REQUEST_TIMEOUT_S: Final = 60
"""Of one try, body included: 64 MiB (the largest single PUT) at 1.1 MB/s."""
MAX_RETRIES: Final = 5
"""After the first try, of what S3 calls retryable (5xx, slow down, broken connections): about 6 s of pauses in all."""
RETRY_FIRST_PAUSE_S: Final = 0.1
RETRY_LAST_PAUSE_S: Final = 5.0
RETRY_GIVE_UP_S: Final = 60
"""No further try begins when so much time has passed since the first."""
CLIENTS: Final = 16
"""Clients kept a process (each has its connections): a process speaks to one bucket, tests to some."""
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_PREFIX: Final = re.compile(r"[A-Za-z0-9._=-]+(/[A-Za-z0-9._=-]+)*", re.ASCII)


@dataclass(frozen=True)
class S3Location:
    """A bucket, or the part of it below `prefix`, on any S3-compatible service. Can be pickled; `repr` hides secrets.

    `endpoint` None is AWS itself. Without keys each library looks for credentials where S3 clients do: `AWS_`
    variables, web identity, the container's or the machine's role. Requests name the bucket in the path unless
    `virtual_hosted`. Raises BadRequest for names that cannot be.
    """

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    _: KW_ONLY
    region: str = DEFAULT_REGION
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    virtual_hosted: bool = False

    def __post_init__(self) -> None:
        if _BUCKET.fullmatch(self.bucket) is None:
            raise BadRequest(
                f"{self.bucket!r} is no bucket name: use 3 to 63 of [a-z0-9.-], a letter or digit first and last"
            )
        steps = self.prefix.split("/")
        if self.prefix and (_PREFIX.fullmatch(self.prefix) is None or not {".", ".."}.isdisjoint(steps)):
            raise BadRequest(f"{self.prefix!r} is no prefix: use [A-Za-z0-9._=-] in parts joined by single slashes")
        if self.endpoint is not None and (
            (parts := urlsplit(self.endpoint)).scheme not in ("http", "https") or not parts.hostname or parts.username
        ):
            raise BadRequest("the S3 endpoint must be like https://host:port, without keys in it")
        if (self.access_key is None) != (self.secret_key is None):
            raise BadRequest(
                "an S3 access key and its secret key go together: set both, or neither to use the environment"
            )

    @property
    def url(self) -> str:
        """The address as people and Delta readers write it."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def open(self) -> S3ObjectStore:
        """Give the object store at this place. Makes no request."""
        from ess_ray.adapters.s3_store import S3ObjectStore

        return S3ObjectStore(self)

    def client(self) -> S3Store:
        """Give the process's obstore client for this place: all who ask for the same share its connections."""
        return _client(self)

    def storage_options(self) -> dict[str, str]:
        """The same for deltalake: commits by conditional PUT (If-None-Match), which needs no lock table."""
        options = {
            "AWS_REGION": self.region,
            "AWS_CONDITIONAL_PUT": "etag",
            "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": str(self.virtual_hosted).lower(),
            "connect_timeout": f"{CONNECT_TIMEOUT_S}s",
            "timeout": f"{REQUEST_TIMEOUT_S}s",
        }
        if (endpoint := self._endpoint()) is not None:
            options["AWS_ENDPOINT_URL"] = endpoint
            options["AWS_ALLOW_HTTP"] = str(endpoint.startswith("http://")).lower()
        keys = {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_SESSION_TOKEN": self.session_token,
        }
        return options | {name: value for name, value in keys.items() if value is not None}

    def boto3_client(self) -> Any:
        """Give a boto3 client for what concerns the bucket itself (import and all: a third of a second)."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            aws_session_token=self.session_token,
            config=Config(
                s3={"addressing_style": "virtual" if self.virtual_hosted else "path"},
                connect_timeout=CONNECT_TIMEOUT_S,
                read_timeout=REQUEST_TIMEOUT_S,
                retries={"total_max_attempts": MAX_RETRIES + 1, "mode": "standard"},
            ),
        )

    def _endpoint(self) -> str | None:
        """The endpoint as object_store wants it: with the bucket in its name where that is the style."""
        if self.endpoint is None or not self.virtual_hosted:
            return self.endpoint
        parts = urlsplit(self.endpoint)
        return f"{parts.scheme}://{self.bucket}.{parts.netloc}"


@lru_cache(maxsize=CLIENTS)
def _client(at: S3Location) -> S3Store:
    from datetime import timedelta

    from obstore.store import S3Store

    endpoint = at._endpoint()
    given = {
        "endpoint": endpoint,
        "access_key_id": at.access_key,
        "secret_access_key": at.secret_key,
        "session_token": at.session_token,
    }
    return S3Store(
        at.bucket,
        prefix=at.prefix or None,
        region=at.region,
        virtual_hosted_style_request=at.virtual_hosted,
        client_options={
            "allow_http": endpoint is not None and endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=CONNECT_TIMEOUT_S),
            "timeout": timedelta(seconds=REQUEST_TIMEOUT_S),
        },
        retry_config={
            "max_retries": MAX_RETRIES,
            "retry_timeout": timedelta(seconds=RETRY_GIVE_UP_S),
            "backoff": {
                "init_backoff": timedelta(seconds=RETRY_FIRST_PAUSE_S),
                "max_backoff": timedelta(seconds=RETRY_LAST_PAUSE_S),
                "base": 2,
            },
        },
        **{name: value for name, value in given.items() if value is not None},  # type: ignore[arg-type]
    )

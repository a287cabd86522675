"""The object store on S3: every read is one GET, of a range or of a suffix, without a look at the object before.

Through obstore (Rust), measured against boto3 on one S3 server on loopback: both ask for ranges and suffixes in one
request, but a 4 KiB range costs 0.2 against 1.4 ms of CPU (2,500 against 500 requests/s with 16 threads), and 1 MiB
ranges 0.8 against 2.1 CPU-seconds per GB; from 8 MiB on they are equal. A broken answer is resumed where it broke.
"""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import obstore
import pyarrow as pa
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError

from ess_ray.adapters.object_store import check_key, check_range
from ess_ray.core.errors import BadRequest, CorruptData, EssError, NotFound, Unavailable
from ess_ray.ports import ObjectInfo

if TYPE_CHECKING:
    from obstore import ObjectMeta

    from ess_ray.adapters.s3_location import S3Location

MULTIPART_BYTES: Final = 64 * 1024 * 1024
"""Larger objects go in parts. A single PUT is one request and leaves nothing behind when it breaks; S3 takes 5 GiB."""
PART_BYTES: Final = 16 * 1024 * 1024
"""Of a larger object; S3 asks for at least 5 MiB and takes 10,000 parts."""
READ_CHUNK_BYTES: Final = 1024 * 1024
"""An answer is handed over in such pieces, joined once: a fifth less CPU than copying it whole after it was joined."""
MAX_RESUMED: Final = 8
"""Of one stream, each after it brought bytes: what a request's time limit allows is then 64 MiB at 0.13 MB/s."""
CLOCK_MAX_AGE_S: Final = 60.0
"""The server's clock is asked again after so long; in between the machine's steady clock carries it on."""
_CLOCK_STEP_US: Final = 2_000_000
"""A `Date` has whole seconds, cut off: two readings of one clock differ by up to that, and a little way."""
_SECOND_US: Final = 1_000_000
_STATUS: Final = re.compile(r"status code: (\d{3})", re.ASCII)
_CODE: Final = re.compile(r"(?:<Code>|\(code: )(\w+)", re.ASCII)
_MAX_TOLD: Final = 500
"""Characters of the client's own message: what follows are its debug structures."""


COALESCE_BYTES: Final = 1024 * 1024
"""About what a connection reads in the 10 to 20 ms that a request takes."""


class S3ObjectStore:
    """Objects in a bucket, below the location's prefix. Blocking, for many threads; can be pickled.

    Failed requests are tried again as `s3_location` bounds it, then raised as Unavailable. The store's clock is the
    server's; ages are told in whole seconds, as S3 does.
    """

    coalesce_bytes = COALESCE_BYTES

    def __init__(self, location: S3Location) -> None:
        self.location = location
        self._client = location.client()
        self._clock = _Clock(location)

    def __reduce__(self) -> tuple[Any, ...]:
        return S3ObjectStore, (self.location,)

    def put(self, key: str, data: bytes | pa.Buffer) -> None:
        """Write durably and atomically; an existing key is replaced. Raises Unavailable.

        One request up to MULTIPART_BYTES. After Unavailable the object may be there or not; putting again is harmless.
        """
        check_key(key)
        octets = memoryview(data).cast("B")
        in_parts = octets.nbytes > MULTIPART_BYTES
        with self._told("write", key):
            obstore.put(self._client, key, octets, use_multipart=in_parts, chunk_size=PART_BYTES)

    def create(self, key: str, data: bytes) -> bool:
        """Write as `put` does, but only if there is no such object (If-None-Match); False when there is. Idempotent.

        After a lost answer the next try may find its own object: False then means the same. Raises Unavailable.
        """
        check_key(key)
        try:
            with self._told("write", key):
                obstore.put(self._client, key, data, mode="create", use_multipart=False)
                return True
        except _AlreadyThere:
            return False

    def head(self, key: str) -> ObjectInfo | None:
        """Tell size and time of change; None when there is no such object. Raises Unavailable."""
        check_key(key)
        try:
            with self._told("look at", key):
                return _info(obstore.head(self._client, key))
        except NotFound:
            return None

    def get(self, key: str) -> tuple[bytes, int]:
        """Read a whole object; gives it and its time of change, in microseconds. Raises NotFound, Unavailable."""
        check_key(key)
        with self._told("read", key):
            answer = obstore.get(self._client, key)
            return b"".join(answer.stream(min_chunk_size=READ_CHUNK_BYTES)), _info(answer.meta).modified_us

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Read `length` bytes from `offset` (fewer at the end). Raises NotFound, Unavailable, CorruptData."""
        check_range(key, offset, length)
        data, start, size = self._get(key, length, {"range": (offset, offset + length)})
        wanted = max(0, min(offset + length, size) - offset)
        return self._whole(key, data, wanted if start == offset else -1)

    def stream_range(self, key: str, offset: int, length: int) -> Generator[bytes, None, None]:
        """Read the same bytes in pieces of about READ_CHUNK_BYTES as they arrive. Raises as `get_range` does.

        One request. Where it breaks, the client takes it up, as long as RETRY_GIVE_UP_S allow; a slow reader or network
        may need longer than that, so what brought bytes before it broke is asked for anew, MAX_RESUMED times.
        """
        check_range(key, offset, length)
        check_key(key)
        if not length:
            self._get(key, length, {})
            return
        at, resumed = offset, 0
        while at < offset + length:
            before = at
            try:
                with closing(self._pieces(key, at, offset + length)) as pieces:
                    for piece in pieces:
                        at += len(piece)
                        yield piece
                return
            except Unavailable:
                resumed += 1
                if at == before or resumed > MAX_RESUMED:
                    raise

    def get_suffix(self, key: str, length: int) -> bytes:
        """Read the last `length` bytes (the whole object if it is smaller). Raises as `get_range` does."""
        if length < 0:
            raise BadRequest(f"the last {length} bytes of {key} cannot be: length starts at 0")
        data, start, size = self._get(key, length, {"range": {"suffix": length}})
        return self._whole(key, data, min(length, size) if start == max(0, size - length) else -1)

    def list(self, prefix: str) -> Sequence[ObjectInfo]:
        """Name all objects whose key starts with `prefix`, sorted by key; a request for each 1,000. Raises Unavailable.

        All keys below the last slash of `prefix` are asked for: the client lists folders, not prefixes.
        """
        folder = prefix.rpartition("/")[0]
        if folder:
            check_key(folder)
        with self._told("list", prefix):
            pages = obstore.list(self._client, prefix=folder or None)
            infos = [_info(meta) for page in pages for meta in page if meta["path"].startswith(prefix)]
        return sorted(infos, key=lambda info: info.key)

    def delete(self, key: str) -> None:
        """Delete; a missing key is no error. Raises Unavailable."""
        check_key(key)
        try:
            with self._told("delete", key):
                obstore.delete(self._client, key)
        except NotFound:
            return

    def now_us(self) -> int:
        """The server's clock, at most two seconds behind and never ahead of it. Raises Unavailable."""
        return self._clock.now_us()

    def _get(self, key: str, length: int, options: Any) -> tuple[bytes, int, int]:
        """One GET; gives (data, where it starts, the object's size). Nothing to read gives (b"", ...)."""
        check_key(key)
        if not length:
            # No range of no bytes can be asked for; that the object exists must still be true.
            if self.head(key) is None:
                raise _not_found(key)
            return b"", 0, 0
        try:
            with self._told("read", key):
                answer = obstore.get(self._client, key, options=options)
                data = b"".join(answer.stream(min_chunk_size=READ_CHUNK_BYTES))
                return data, answer.range[0], answer.meta["size"]
        except _PastTheEnd:
            return b"", 0, 0

    def _pieces(self, key: str, start: int, end: int) -> Generator[bytes, None, None]:
        """One GET, in pieces: of [start, end) what the object has."""
        try:
            with self._told("read", key):
                answer = obstore.get(self._client, key, options={"range": (start, end)})
                pieces = answer.stream(min_chunk_size=READ_CHUNK_BYTES)
        except _PastTheEnd:
            return
        at, end = start, min(end, answer.meta["size"])
        if answer.range[0] != start:
            raise _altered(key, end - start)
        while True:
            with self._told("read", key):
                piece = next(pieces, b"")
            if not piece:
                break
            at += len(piece)
            yield piece
        if at != end:
            raise _altered(key, at - start)

    def _whole(self, key: str, data: bytes, wanted: int) -> bytes:
        if len(data) not in (wanted, 0) or (wanted > 0 and not data):
            raise _altered(key, len(data))
        return data

    @contextmanager
    def _told(self, doing: str, key: str) -> Iterator[None]:
        """Turn the client's refusals into errors of ours, with what the server said and what to do."""
        try:
            yield
        except EssError:
            raise
        except (BaseError, OSError) as error:
            raise self._meaning(doing, key, error) from error

    def _meaning(self, doing: str, key: str, error: Exception) -> EssError:
        # The client has classes for some refusals of some requests; for all others the status and S3's code are read
        # from its message.
        told = str(error)
        found = _STATUS.search(told)
        status, codes = int(found[1]) if found is not None else 0, set(_CODE.findall(told))
        at = f"{key!r} in {self.location.url}"
        if "NoSuchBucket" in codes:
            return Unavailable(f"cannot {doing} {at}: there is no such bucket; create it, or correct name and endpoint")
        if isinstance(error, FileNotFoundError):
            return _not_found(key)
        if isinstance(error, AlreadyExistsError):
            return _AlreadyThere(key)
        if status == 416 and doing == "read":
            return _PastTheEnd(key)
        refused = isinstance(error, PermissionDeniedError | UnauthenticatedError)
        if refused or status in (401, 403) or "AccessDenied" in codes:
            who = f"the access key {self.location.access_key}" if self.location.access_key else "these credentials"
            return Unavailable(
                f"cannot {doing} {at}: the object store refuses {who}: check the keys (settings, or AWS_ variables), "
                f"and that they may read, write, list and delete there; it said: {_said(error)}",
                key=key,
            )
        return Unavailable(
            f"cannot {doing} {at} just now: {_said(error)}; check that the endpoint is right and up", key=key
        )


class _PastTheEnd(EssError):
    """A range begins at or after the object's end: nothing to read, which is no error of the port."""


class _AlreadyThere(EssError):
    """A conditional PUT found an object."""


class _Clock:
    """The server's clock, asked for once a minute and carried on by the machine's steady clock."""

    def __init__(self, location: S3Location) -> None:
        self._location = location
        self._lock = Lock()
        self._ahead_us: int | None = None
        self._asked_s = 0.0

    def now_us(self) -> int:
        with self._lock:
            if self._ahead_us is None or time.monotonic() - self._asked_s > CLOCK_MAX_AGE_S:
                from ess_ray.adapters.s3_bucket import server_time_us

                ahead_us = server_time_us(self._location) - _steady_us()
                # Of two readings of one clock the higher is nearer to it; a real step is taken as it is.
                if self._ahead_us is None or abs(ahead_us - self._ahead_us) > _CLOCK_STEP_US:
                    self._ahead_us = ahead_us
                self._ahead_us = max(self._ahead_us, ahead_us)
                self._asked_s = time.monotonic()
            return self._ahead_us + _steady_us()


def _steady_us() -> int:
    return time.monotonic_ns() // 1000


def _info(meta: ObjectMeta) -> ObjectInfo:
    return ObjectInfo(meta["path"], meta["size"], _whole_seconds_us(meta["last_modified"]))


def _whole_seconds_us(moment: datetime) -> int:
    """HEAD tells whole seconds, lists sometimes more: one object has one time."""
    return int(moment.timestamp()) * _SECOND_US


def _not_found(key: str) -> NotFound:
    return NotFound(f"there is no object {key}: it was never stored, or it was deleted since", key=key)


def _altered(key: str, length: int) -> CorruptData:
    return CorruptData(
        f"the object store answered {length} bytes of {key} that are not those asked for: "
        "something between here and it alters answers",
        key=key,
    )


def _said(error: BaseException) -> str:
    """What the client said, without its debug structures and in one line."""
    told = " ".join(str(error).partition("\n\nDebug source:")[0].split())
    return told if len(told) <= _MAX_TOLD else f"{told[:_MAX_TOLD]}..."

"""The error tree: what may go wrong, whether to try again, and the HTTP status it becomes.

EssError
  x  BadRequest            400  the caller's input is wrong; sending it again will not help
     x  QueryError              the query's text is wrong, with the position
  x  Unauthenticated       401  a key is needed, and this is none
  x  Forbidden             403  the key is good, but not for this
  x  NotFound              404  no such query, object or key
     x  Gone               410  an answer that was kept, and is no longer: the message says why
  x  Conflict              409  somebody else did it first
     x  KeyConflict        422  an Idempotency-Key was used again with another body
     x  Fenced                  another writer has moved this virtual node on
     x  UnknownOutcome          a commit whose result is not known; read the catalog again
  x  TooLarge              413  over a limit that the message names
  x  Unsupported           415  a content type or encoding that is not spoken here
  x  TooFast               429  back off, then send again
  x  Unavailable           503  a part is not there just now; send again later
  x  Incomplete            500  an answer that has not everything, to who wants nothing less
  x  CorruptData           500  stored bytes that do not read as what they should be
  x  NewerFormat           500  stored bytes of a format that only a newer ess_ray reads
  x  DataLoss              500  something acknowledged can no longer be read
"""

from __future__ import annotations

from typing import Any


class EssError(Exception):
    """Base of all errors that ess_ray raises on purpose.

    `message` tells the user what to do; `details` are JSON values that go into the problem document. Instances
    survive pickling (and so a Ray task): `__reduce__` rebuilds them from their two attributes, whatever the
    signature of a subclass.
    """

    http_status: int = 500
    retryable: bool = False
    title: str = "Internal error"

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.details)


def _rebuild(cls: type[EssError], message: str, details: dict[str, Any]) -> EssError:
    return cls(message, **details)


class BadRequest(EssError):
    """The caller's input is wrong."""

    http_status = 400
    title = "Bad request"


class QueryError(BadRequest):
    """The query's text is wrong; `position` is the offset, in characters from 0, where it went wrong."""

    title = "Bad query"

    def __init__(self, message: str, position: int = 0) -> None:
        super().__init__(message, position=position)
        self.position = position


class Unauthenticated(EssError):
    """A key is needed, and none that is known came with the request."""

    http_status = 401
    title = "Unauthorized"


class Forbidden(EssError):
    """The key is good, but not for this."""

    http_status = 403
    title = "Forbidden"


class NotFound(EssError):
    """No such thing, or it has expired."""

    http_status = 404
    title = "Not found"


class Gone(NotFound):
    """There was such a thing, and it is no longer kept; the message says why."""

    http_status = 410
    title = "Gone"


class Conflict(EssError):
    """Somebody else did it first."""

    http_status = 409
    title = "Conflict"


class KeyConflict(Conflict):
    """An Idempotency-Key was used again with another body."""

    http_status = 422
    title = "Idempotency-Key used again with another body"


class Fenced(Conflict):
    """The catalog's next offset of a virtual node is not where this writer began: another writer has moved it on."""

    title = "Fenced"


class UnknownOutcome(Conflict):
    """A commit ended with an exception: it may or may not be in the catalog. Reopen the catalog and read it."""

    retryable = True
    title = "Unknown outcome"


class TooLarge(EssError):
    """Over a limit, which the message names."""

    http_status = 413
    title = "Too large"


class Unsupported(EssError):
    """A content type or encoding that is not spoken here."""

    http_status = 415
    title = "Unsupported media type"


class TooFast(EssError):
    """More than can be taken just now; nothing was kept, send it again after a pause."""

    http_status = 429
    retryable = True
    title = "Too many requests"


class Unavailable(EssError):
    """A part of the system is not there just now; nothing was acknowledged, send it again."""

    http_status = 503
    retryable = True
    title = "Service unavailable"


class Incomplete(EssError):
    """An answer has not everything that was acknowledged; `incomplete` in the details says what is missing."""

    title = "Incomplete answer"


class CorruptData(EssError):
    """Stored bytes do not read as what they should be."""

    title = "Corrupt data"


class NewerFormat(EssError):
    """Stored bytes are of a format that this version does not know yet: nothing is wrong with them. Upgrade."""

    title = "Newer format"


class DataLoss(EssError):
    """Something that was acknowledged can no longer be read. Never hidden."""

    title = "Data loss"

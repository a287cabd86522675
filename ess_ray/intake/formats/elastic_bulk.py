"""The way in for what speaks to Elasticsearch or OpenSearch: `_bulk`, and one document by itself.

The answer has an item for each action, in their order. Events are never changed: `index` stores as `create` does, and
an `_id` that was there before is answered as at the first time; `update` and `delete` are refused, each by itself.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from typing import Any, Final

import orjson

from ess_ray.core.errors import BadRequest, EssError, TooLarge, Unsupported
from ess_ray.core.event import MAX_EVENT_BYTES
from ess_ray.intake.attributes import Inexact, Reading
from ess_ray.intake.batches import odd_columns
from ess_ray.intake.columns import to_columns
from ess_ray.intake.compression import Content
from ess_ray.intake.decoded import Decoded
from ess_ray.intake.digits import Exactness
from ess_ray.intake.fields import FieldTable
from ess_ray.intake.formats.elastic_lines import DEFAULT_INDEX, STORING, Action, Span, cut_lines, lines_of
from ess_ray.intake.formats.elastic_rows import Document, event_of, read_document, stored_id
from ess_ray.intake.formats.format import Body, Stored, each_alone
from ess_ray.intake.formats.json_pieces import EVENT_BYTES, MAX_VALUE_BYTES, PIECE_BYTES
from ess_ray.intake.formats.json_values import read_lines
from ess_ray.intake.limits import IntakeLimits
from ess_ray.intake.rows import Broken
from ess_ray.problem import Answer, Refusal

MEDIA_TYPE: Final = "application/json"
_UNTOLD: Final = frozenset({"", "text/plain", "application/octet-stream", "application/x-www-form-urlencoded"})
"""What clients send that were told nothing, besides all that ends as JSON and NDJSON do."""
_ID_CHARS: Final = 14
"""Of the hash of a body, before a document's number in it: what we call a document that nobody has named."""
_TOO_LARGE: Final = f"the event is larger than {MAX_EVENT_BYTES} bytes"
_TYPES: Final = {
    400: "illegal_argument_exception",
    401: "security_exception",
    403: "security_exception",
    404: "resource_not_found_exception",
    405: "method_not_allowed_exception",
    413: "content_too_large_exception",
    415: "media_type_header_exception",
    422: "version_conflict_engine_exception",
    503: "unavailable_shards_exception",
}
"""What Elasticsearch calls what went wrong, by status."""
_INVALID: Final = "document_parsing_exception"
_TOO_MANY: Final = 429

Part = tuple[Action, bytes | None]
"""An action and its document as it was sent, if it has one."""


@dataclass(frozen=True)
class _Pieces:
    """A request, cut. See `format.Pieces`."""

    text: Content
    spans: Sequence[Span]
    body_hash: str
    index: str | None
    single: Action | None = None
    """What is to be done with the body as a whole, where it is a document by itself."""

    def __len__(self) -> int:
        return len(self.spans)

    def size(self, number: int) -> int:
        return self.spans[number].size

    def decode(self, number: int, table: FieldTable, now_us: int, limits: IntakeLimits) -> Decoded:
        span, parts = self.spans[number], list(self._parts(number))
        if not parts:
            raise BadRequest("the body is empty: send a line that is an action, and one that is its document")
        exact = False
        while True:
            documents, exactness = _documents(parts, self.index, exact)
            try:
                reading = Reading(now_us, limits, exactness, table)
                decoded = to_columns(documents, span.size, reading, partial(odd_columns, read=read_document), event_of)
                break
            except Inexact:
                exact = True
            except TooLarge as error:  # other pieces are stored already, and this one never can be
                reason = error.message
                decoded = odd_columns([Broken(reason) for _ in parts], Reading(now_us, limits, True), read_document)
                break
        return replace(decoded, told=self._items(parts, span.first, dict(decoded.rejected)))

    def _parts(self, number: int) -> Iterator[Part]:
        """Give a piece's actions. Raises BadRequest."""
        if self.single is not None:
            yield self.single, bytes(self.text)
            return
        span = self.spans[number]
        for line in lines_of(self.text, span.start, span.end, span.first):
            yield line.action, bytes(self.text[line.start : line.end]) if line.end else None

    def _items(self, parts: Sequence[Part], first: int, rejected: Mapping[int, str]) -> bytes:
        """Write what the answer says of some actions, without the array's brackets."""
        made = urlsafe_b64encode(bytes.fromhex(self.body_hash)).decode()[:_ID_CHARS]
        items: list[dict[str, Any]] = []
        for index, (action, _) in enumerate(parts):
            item: dict[str, Any] = {
                "_index": action.index or self.index or DEFAULT_INDEX,
                "_id": action.id if action.id is not None else f"{made}{first + index:06x}",
            }
            reason = rejected.get(index)
            if reason is None:
                item["status"] = 201
            else:
                item |= {"status": 400, "error": {"type": _type_of(action), "reason": reason}}
            items.append({action.name: item})
        return orjson.dumps(items)[1:-1]


@dataclass(frozen=True, eq=False)
class ElasticBulk:
    """The body of a `_bulk`. See `format.Format`. `index`: what the address says."""

    index: str | None = None

    def may_be_several(self, body: Body) -> bool:
        """Tell whether a body is more than one piece, at a glance: an event has two lines."""
        return len(body.data) > PIECE_BYTES - EVENT_BYTES * (body.data.count(b"\n") // 2 + 1)

    def cut(self, body: Body) -> _Pieces:
        """Cut a body into pieces. Raises BadRequest, Unsupported (content type), TooLarge (too many actions)."""
        _check_type(body.content_type)
        return _Pieces(body.data, cut_lines(body.data, PIECE_BYTES), _hash_of(body.data), self.index)

    def decode(self, body: Body, now_us: int, limits: IntakeLimits) -> Decoded:
        """Read a body. Raises BadRequest, Unsupported (content type)."""
        _check_type(body.content_type)
        pieces = _Pieces(body.data, [Span(0, 0, len(body.data))], _hash_of(body.data), self.index)
        return pieces.decode(0, body.table, now_us, limits)

    def decode_together(self, bodies: Sequence[Body], now_us: int, limits: IntakeLimits) -> list[Decoded | EssError]:
        """Read several bodies, each by itself."""
        return each_alone(self, bodies, now_us, limits)

    def accepted(self, stored: Stored, content_type: str | None) -> Answer:
        """200 with an item for each action, whatever became of it.

        Items hold no more than clients look at: Fluent Bit keeps 512 KiB of an answer, and takes less for a failure.
        """
        head = orjson.dumps({"took": stored.took_ms, "errors": stored.rejected_total > 0})[:-1]
        return Answer(200, b'%b,"items":[%b]}' % (head, b",".join(stored.told)), MEDIA_TYPE)

    def refused(self, refusal: Refusal, content_type: str | None) -> Answer:
        """Elasticsearch's error. What is to be sent again is 503 alone, which all of its clients do."""
        return refused(refusal)


@dataclass(frozen=True, eq=False)
class ElasticDocument:
    """A body that is one document. See `format.Format`. `action`: what the address says is to be done with it."""

    action: Action

    def may_be_several(self, body: Body) -> bool:
        """Tell that it is one."""
        return False

    def cut(self, body: Body) -> _Pieces:
        """Give it as its only piece. Raises Unsupported (content type)."""
        _check_type(body.content_type)
        whole = Span(0, 0, len(body.data))
        return _Pieces(body.data, [whole], _hash_of(body.data), self.action.index, self.action)

    def decode(self, body: Body, now_us: int, limits: IntakeLimits) -> Decoded:
        """Read it. Raises Unsupported (content type)."""
        return self.cut(body).decode(0, body.table, now_us, limits)

    def decode_together(self, bodies: Sequence[Body], now_us: int, limits: IntakeLimits) -> list[Decoded | EssError]:
        """Read several bodies, each by itself."""
        return each_alone(self, bodies, now_us, limits)

    def accepted(self, stored: Stored, content_type: str | None) -> Answer:
        """201 with what a bulk's item holds, and more. Raises BadRequest where the document can never be stored."""
        if stored.rejected:
            raise BadRequest(stored.rejected[0][1])
        (item,) = orjson.loads(b",".join(stored.told)).values()
        document = {
            "_index": item["_index"],
            "_id": item["_id"],
            "_version": 1,
            "result": "created",
            "_shards": {"total": 1, "successful": 1, "failed": 0},
            "_seq_no": 0,
            "_primary_term": 1,
        }
        return Answer(201, orjson.dumps(document), MEDIA_TYPE)

    def refused(self, refusal: Refusal, content_type: str | None) -> Answer:
        """Elasticsearch's error (see `ElasticBulk.refused`)."""
        return refused(refusal)


ELASTIC_BULK: Final = ElasticBulk()


def refused(refusal: Refusal) -> Answer:
    """Write an error as Elasticsearch does."""
    status = 503 if refusal.status == _TOO_MANY else refusal.status
    cause = {"type": _TYPES.get(status, "exception"), "reason": refusal.message}
    return Answer(status, orjson.dumps({"error": {"root_cause": [cause], **cause}, "status": status}), MEDIA_TYPE)


def _documents(parts: Sequence[Part], index: str | None, exact: bool) -> tuple[list[Document | Broken], Exactness]:
    """Read the documents of some actions; also tells how their numbers were read (see `read_lines`)."""
    flaws = [_flaw_of(action, text) for action, text in parts]
    texts = [text or b"" for (_, text), flaw in zip(parts, flaws, strict=True) if flaw is None]
    read = read_lines(texts, exact, one_each=True)
    values = iter(read.values)
    documents: list[Document | Broken] = []
    for (action, _), flaw in zip(parts, flaws, strict=True):
        value = flaw if flaw is not None else next(values)
        if isinstance(value, Broken):
            documents.append(value)
        else:
            documents.append(Document(value, action.index or index, stored_id(action.id)))
    return documents, read.exact


def _flaw_of(action: Action, text: bytes | None) -> Broken | None:
    """Tell why a document is not even read."""
    if action.name not in STORING:
        return Broken(f"{action.name} is not done here: events are never changed; send create or index")
    return Broken(_TOO_LARGE) if len(text or b"") > MAX_VALUE_BYTES else None


def _type_of(action: Action) -> str:
    return _INVALID if action.name in STORING else _TYPES[400]


def _hash_of(body: Content) -> str:
    return sha256(body).hexdigest()


def _check_type(content_type: str | None) -> None:
    """Raise Unsupported for what cannot be these lines."""
    kind = (content_type or "").split(",")[0].split(";")[0].strip().lower()
    if not (kind in _UNTOLD or kind.endswith(("json", "jsonl", "jsonlines"))):
        raise Unsupported(
            f"the Content-Type {content_type!r} is not spoken here: use application/x-ndjson or application/json"
        )

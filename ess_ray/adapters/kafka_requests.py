"""Kafka's error codes, and the two requests in which topics have ids.

aiokafka brings most of the protocol, but names topics by name alone. A log is named by its topic's UUID (a topic made
anew under the old name is another log), so describing and fetching are spelled out here in the versions that know ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Any, ClassVar, Final
from uuid import UUID

from aiokafka.errors import for_code
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactBytes,
    CompactString,
    Int8,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)

NO_ERROR: Final = 0
OFFSET_OUT_OF_RANGE: Final = 1
UNKNOWN_TOPIC: Final = 3
NO_LEADER: Final = 5
NOT_LEADER: Final = 6
NO_ANSWER_IN_TIME: Final = 7
MESSAGE_TOO_LARGE: Final = 10
NOT_ENOUGH_REPLICAS: Final = 19
FENCED_LEADER_EPOCH: Final = 74
TOPIC_EXISTS: Final = 36
INVALID_REPLICATION: Final = 38
OUT_OF_ORDER_SEQUENCE: Final = 45
DUPLICATE_SEQUENCE: Final = 46
INVALID_PRODUCER_EPOCH: Final = 47
UNKNOWN_PRODUCER_ID: Final = 59
_TRANSIENT: Final = frozenset({74, 75, 78, 100, 103})
"""Codes that aiokafka does not know: leader epochs of elections under way (74, 75), a new leader that does not know the
log's end yet (78), a broker that has not heard of a topic's id yet (100, 103)."""


class Refused(Exception):
    """A broker answered with an error code. `transient`: it may go by itself (an election, a broker starting)."""

    def __init__(self, code: int) -> None:
        error = for_code(code)
        super().__init__(f"Kafka answers with error {code} ({error.__name__})")
        self.code = code
        self.transient = bool(error.retriable) or code in _TRANSIENT


def check_code(code: int) -> None:
    """Raise Refused unless the code is 0."""
    if code != NO_ERROR:
        raise Refused(code)


# ------------------------------------------------------------------------------------------------------- requests
class _Uuid(AbstractType[UUID]):
    @classmethod
    def encode(cls, value: UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> UUID:
        return UUID(bytes=data.read(16))


_TAGS: Final = ("tags", TaggedFields)


class _DescribeTopicsResponse(Response):
    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32), ("host", CompactString()), ("port", Int32), ("rack", CompactString()), _TAGS
            ),
        ),
        ("cluster_id", CompactString()),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString()),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader_id", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline", CompactArray(Int32)),
                        _TAGS,
                    ),
                ),
                ("authorized_operations", Int32),
                _TAGS,
            ),
        ),
        _TAGS,
    )


class _DescribeTopicsStruct(RequestStruct):
    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 12
    RESPONSE_TYPE = _DescribeTopicsResponse
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Uuid), ("name", CompactString()), _TAGS)),
        ("allow_auto_topic_creation", Boolean),
        ("include_authorized_operations", Boolean),
        _TAGS,
    )


class DescribeTopic(Request[_DescribeTopicsStruct]):
    """Metadata v12 of one topic, by name; never creates it."""

    API_KEY: ClassVar[int] = 3

    def __init__(self, name: str) -> None:
        self._name = name

    def build(self, request_struct_class: type[_DescribeTopicsStruct]) -> _DescribeTopicsStruct:
        return request_struct_class([(UUID(int=0), self._name, {})], False, False, {})


class _FetchResponse(Response):
    API_KEY = 1
    API_VERSION = 13
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("session_id", Int32),
        (
            "topics",
            CompactArray(
                ("topic_id", _Uuid),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("high_watermark", Int64),
                        ("last_stable_offset", Int64),
                        ("log_start_offset", Int64),
                        ("aborted", CompactArray(("producer_id", Int64), ("first_offset", Int64), _TAGS)),
                        ("preferred_read_replica", Int32),
                        ("records", CompactBytes),
                        _TAGS,
                    ),
                ),
                _TAGS,
            ),
        ),
        _TAGS,
    )


class _FetchStruct(RequestStruct):
    FLEXIBLE_VERSION = True
    API_KEY = 1
    API_VERSION = 13
    RESPONSE_TYPE = _FetchResponse
    SCHEMA = Schema(
        ("replica_id", Int32),
        ("max_wait_ms", Int32),
        ("min_bytes", Int32),
        ("max_bytes", Int32),
        ("isolation_level", Int8),
        ("session_id", Int32),
        ("session_epoch", Int32),
        (
            "topics",
            CompactArray(
                ("topic_id", _Uuid),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("current_leader_epoch", Int32),
                        ("fetch_offset", Int64),
                        ("last_fetched_epoch", Int32),
                        ("log_start_offset", Int64),
                        ("max_bytes", Int32),
                        _TAGS,
                    ),
                ),
                _TAGS,
            ),
        ),
        ("forgotten", CompactArray(("topic_id", _Uuid), ("partitions", CompactArray(Int32)), _TAGS)),
        ("rack_id", CompactString()),
        _TAGS,
    )


@dataclass(frozen=True)
class Fetched:
    """A fetch's answer: whole record batches (the first may begin below the offset), and where the log ends."""

    error_code: int
    high_watermark: int
    records: bytes


class Fetch(Request[_FetchStruct]):
    """Fetch v13 of one partition of the topic with this id: answered at once; at least one batch if there is one.

    Uncommitted records of other programs' transactions are read, as consumers do unless told otherwise: waiting for
    them would let one forgotten transaction stop the partition.
    """

    API_KEY: ClassVar[int] = 1

    def __init__(self, topic_id: UUID, partition: int, offset: int, max_bytes: int) -> None:
        self._topic_id = topic_id
        self._partition: tuple[Any, ...] = (partition, -1, offset, -1, -1, max_bytes, {})
        self._max_bytes = max_bytes

    def build(self, request_struct_class: type[_FetchStruct]) -> _FetchStruct:
        topics: list[Any] = [(self._topic_id, [self._partition], {})]
        return request_struct_class(-1, 0, 0, self._max_bytes, 0, 0, -1, topics, [], "", {})


def fetched(response: Any) -> Fetched:
    """Read the answer to a Fetch. Raises Refused when the request as a whole was refused."""
    check_code(response.error_code)
    ((_, ((_, code, high_watermark, _, _, _, _, records, _),), _),) = response.topics
    return Fetched(code, high_watermark, records or b"")

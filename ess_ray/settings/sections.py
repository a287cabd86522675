"""The sections of the settings, each a frozen model: what can be set, its default, its bounds.

Defaults are those of `ess_ray.limits`.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from ess_ray.core.answer import MAX_LIMIT
from ess_ray.core.errors import BadRequest
from ess_ray.core.tenant import DEFAULT_TENANT, check_tenant
from ess_ray.limits import (
    EXECUTOR,
    FUNCTION_MEMORY_MB,
    FUNCTION_TIMEOUT_S,
    KAFKA,
    LOKI_LABELS,
    PERSIST_ACTORS,
    PUSH_REPLICAS,
    SEARCH_REPLICAS,
    VNODES,
    AnswerLimits,
    CompactionPolicy,
    DiskLimits,
    ExecutorName,
    InvokeLimits,
    LambdaLimits,
    RequestLimits,
    SaslMechanism,
    SearchLimits,
    SecurityProtocol,
    WriterLimits,
)

_MIB: Final = 1024 * 1024
_SECOND_US: Final = 1_000_000
_WRITER: Final = WriterLimits()
_SEARCH: Final = SearchLimits()
_INVOKE: Final = InvokeLimits()
_LAMBDA: Final = LambdaLimits()
_ANSWER: Final = AnswerLimits()
_REQUEST: Final = RequestLimits()
_POLICY: Final = CompactionPolicy()
_DISK: Final = DiskLimits()

Port = Annotated[int, Field(ge=1, le=65_535)]
Count = Annotated[int, Field(ge=1)]
Bytes = Annotated[int, Field(ge=1)]
Replicas = Annotated[int, Field(ge=1, le=64)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _tenant(value: str) -> str:
    try:
        return check_tenant(value)
    except BadRequest as error:
        raise ValueError(error.message) from None


TenantName = Annotated[str, AfterValidator(_tenant)]


class _Section(BaseModel):
    # The input is hidden in errors: a secret that does not validate must not be printed by the refusal.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _replicas_in_order(least: int, most: int) -> None:
    if most < least:
        raise ValueError(f"max_replicas ({most}) must be at least replicas ({least})")


class Http(_Section):
    """Where HTTP listens.

    `elasticsearch_port`: a second port, at whose root clients of Elasticsearch find what is below `/elasticsearch` of
    the first one (rsyslog's takes no path); usually 9200, absent none.
    """

    host: str = "127.0.0.1"
    port: Port = 8000
    elasticsearch_port: Port | None = None

    @model_validator(mode="after")
    def _check_ports(self) -> Http:
        if self.elasticsearch_port == self.port:
            raise ValueError("elasticsearch_port must be another port than port")
        return self


class Log(_Section):
    """The event log: in the data directory, or on Kafka where `brokers` (`HOST:PORT,HOST:PORT`) is given.

    `vnodes` is fixed when the log is made: afterwards its own number counts. It is 8 in the data directory and 64 on
    Kafka, where it is the number of partitions. The rest is Kafka's (see `adapters.kafka_settings.KafkaSettings`).
    """

    vnodes: Annotated[int, Field(ge=1, le=1024)] | None = None
    brokers: str = ""
    topic: str = KAFKA.topic
    foreign_tenant: TenantName = DEFAULT_TENANT
    """Whose the records are that other programs write to the topic."""
    replication: Annotated[int, Field(ge=1, le=16)] = KAFKA.replication
    min_insync_replicas: Annotated[int, Field(ge=1, le=16)] = KAFKA.min_insync_replicas
    retention_s: Annotated[int, Field(ge=60)] = KAFKA.retention_s
    security_protocol: SecurityProtocol = KAFKA.security_protocol
    sasl_mechanism: SaslMechanism = KAFKA.sasl_mechanism
    username: str | None = None
    password: SecretStr | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    @property
    def vnode_count(self) -> int:
        """The number of virtual nodes of a log that is made."""
        return self.vnodes or (KAFKA.vnodes if self.brokers else VNODES)


class Store(_Section):
    """Where objects and table lie: the data directory, or a bucket of any S3-compatible service.

    Without keys, `AWS_` variables and roles count. `endpoint`: for services other than AWS.
    """

    bucket: str = ""
    prefix: str = ""
    endpoint: str | None = None
    region: str = "us-east-1"
    access_key: SecretStr | None = None
    secret_key: SecretStr | None = None
    virtual_hosted: bool = False


class Disk(_Section):
    """Free space of the data directory's disk, where the log lies in it.

    `warn_bytes`: below it is told. `reserve_bytes`: never given to new events, which are refused (503) while no more
    than this and what the log holds is free: a merge of 128 MiB, the log's own upkeep, and what others write meanwhile.
    """

    warn_bytes: Bytes = _DISK.warn_bytes
    reserve_bytes: Annotated[int, Field(ge=16 * _MIB)] = _DISK.reserve_bytes

    @property
    def limits(self) -> DiskLimits:
        return DiskLimits(warn_bytes=self.warn_bytes, reserve_bytes=self.reserve_bytes)


class Persist(_Section):
    """The pool that carries the log to the object store. Sizes are Arrow bytes in memory, of one actor."""

    actors: Annotated[int, Field(ge=1, le=1024)] = PERSIST_ACTORS
    seal_bytes: Bytes = _WRITER.seal_bytes
    seal_age_s: Seconds = _WRITER.seal_age_us / _SECOND_US
    max_buffer_bytes: Bytes = _WRITER.max_buffer_bytes

    @property
    def limits(self) -> WriterLimits:
        return WriterLimits(
            seal_bytes=self.seal_bytes,
            seal_age_us=round(self.seal_age_s * _SECOND_US),
            max_buffer_bytes=self.max_buffer_bytes,
        )


class Search(_Section):
    """What bounds one search; bytes are stored bytes.

    `replicas` to `max_replicas` (absent: the same) answer queries, as many as their requests need; more than one share
    their answers in Redis (`results.redis_url`).
    """

    replicas: Replicas = SEARCH_REPLICAS
    max_replicas: Replicas | None = None
    freshness_timeout_s: Seconds = _SEARCH.freshness_timeout_s
    task_bytes: Bytes = _SEARCH.task_bytes
    in_place_bytes: Annotated[int, Field(ge=0)] = _SEARCH.in_place_bytes
    attempts: Annotated[int, Field(ge=1, le=100)] = _SEARCH.attempts
    max_running: Annotated[int, Field(ge=1, le=10_000)] = _SEARCH.max_running
    max_queued: Annotated[int, Field(ge=0, le=100_000)] = _SEARCH.max_queued
    hints_within_s: Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)] = _SEARCH.hints_within_s
    """What an answer without rows may wait for what could have been meant."""
    executor: ExecutorName = EXECUTOR
    """Who scans when a query does not say."""
    loki_labels: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=256)], ...], Field(max_length=64)] = (
        LOKI_LABELS
    )
    """Attributes that tell streams apart for Loki's clients, besides service, level and host: those with few values."""

    @property
    def limits(self) -> SearchLimits:
        return SearchLimits(
            freshness_timeout_s=self.freshness_timeout_s,
            task_bytes=self.task_bytes,
            in_place_bytes=self.in_place_bytes,
            attempts=self.attempts,
            max_running=self.max_running,
            max_queued=self.max_queued,
            hints_within_s=self.hints_within_s,
        )

    @property
    def most_replicas(self) -> int:
        return self.max_replicas or self.replicas

    @model_validator(mode="after")
    def _check_replicas(self) -> Search:
        _replicas_in_order(self.replicas, self.most_replicas)
        return self


class Lambda(_Section):
    """The Lambda function that scans, where one is deployed (`ess lambda package`); `function`: its name or ARN.

    `endpoint`: of a service other than AWS; without keys, `AWS_` variables and roles count. `timeout_s` and
    `memory_mb` as it was deployed. `max_concurrency`: of the account's 1,000, shared by all searches and replicas.
    `max_cost_usd`: what a search with executor auto may spend; the rest of it runs as Ray tasks.
    """

    function: str = ""
    region: str = "us-east-1"
    endpoint: str | None = None
    access_key: SecretStr | None = None
    secret_key: SecretStr | None = None
    timeout_s: Annotated[float, Field(gt=0, le=900)] = FUNCTION_TIMEOUT_S
    memory_mb: Annotated[int, Field(ge=128, le=10_240)] = FUNCTION_MEMORY_MB
    max_concurrency: Annotated[int, Field(ge=1, le=100_000)] = _LAMBDA.max_concurrency
    task_bytes: Bytes = _LAMBDA.task_bytes
    attempts: Annotated[int, Field(ge=1, le=100)] = _INVOKE.attempts
    max_cost_usd: Annotated[float, Field(ge=0, allow_inf_nan=False)] = _LAMBDA.max_cost_usd
    usd_per_gb_second: Annotated[float, Field(ge=0, allow_inf_nan=False)] = _INVOKE.usd_per_gb_second

    @property
    def limits(self) -> LambdaLimits:
        return LambdaLimits(
            max_concurrency=self.max_concurrency, task_bytes=self.task_bytes, max_cost_usd=self.max_cost_usd
        )

    @property
    def invoke_limits(self) -> InvokeLimits:
        return InvokeLimits(attempts=self.attempts, usd_per_gb_second=self.usd_per_gb_second)


class Results(_Section):
    """Where answers are kept (in memory of the one search replica, or in Redis at `redis_url`), how long, how much."""

    redis_url: SecretStr | None = None
    ttl_s: Seconds = _ANSWER.ttl_s
    max_rows: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = _ANSWER.max_rows
    max_bytes: Bytes = _ANSWER.max_bytes

    @property
    def limits(self) -> AnswerLimits:
        return AnswerLimits(
            ttl_s=self.ttl_s,
            max_rows=self.max_rows,
            max_bytes=self.max_bytes,
        )


class Push(_Section):
    """What the front door takes: decompressed bytes of one request, ages against the time of receipt.

    `replicas`: Python decodes on one core each; two keep both cores of the smallest machine at work. Under load they
    become up to `max_replicas` (absent: the same).

    `fields`: per tenant, names of its own for fields, which are looked at before the usual ones (`intake.fields`):
    `{shop: {message: [what], level: [grade]}}`.

    `parse`: per tenant, the format of lines of text (`text/plain`), `auto` or a name that `ess push --format` takes;
    where a tenant has none, each line is a message: `{shop: auto}`.

    `keys_in_addresses`: take a key as `?dd-api-key=` or `?token=`, too, for agents that know no other place. Addresses
    end up in logs of proxies; ours leave them out.

    `elasticsearch_version`: what clients of Elasticsearch are told that they speak with. Beats before 8.11 refuse one
    that is older than themselves, Fluentd's plugin one of another major version than its library's.
    """

    replicas: Replicas = PUSH_REPLICAS
    max_replicas: Replicas | None = None
    max_batch_bytes: Bytes = _REQUEST.max_batch_bytes
    max_event_age_s: Seconds = _REQUEST.max_event_age_us / _SECOND_US
    max_clock_skew_s: Seconds = _REQUEST.max_clock_skew_us / _SECOND_US
    keys_in_addresses: bool = False
    elasticsearch_version: Annotated[str, Field(pattern=r"^[1-9][0-9]?\.[0-9]{1,3}\.[0-9]{1,3}$")] = "8.19.0"
    parse: dict[TenantName, str] = {}
    fields: dict[TenantName, dict[str, list[Annotated[str, Field(min_length=1)]]]] = {}

    @property
    def limits(self) -> RequestLimits:
        return RequestLimits(
            max_batch_bytes=self.max_batch_bytes,
            max_event_age_us=round(self.max_event_age_s * _SECOND_US),
            max_clock_skew_us=round(self.max_clock_skew_s * _SECOND_US),
        )

    @property
    def most_replicas(self) -> int:
        return self.max_replicas or self.replicas

    @model_validator(mode="after")
    def _check_replicas(self) -> Push:
        _replicas_in_order(self.replicas, self.most_replicas)
        return self


class Maintenance(_Section):
    """What becomes of stored events. `message_codec` of what compaction writes: lz4 suits fast local disks.

    `retention_days`: per tenant; one that is not named keeps its events for ever. Whole objects go, by newest event.
    `max_bytes`: stored bytes of all tenants, `tenant_max_bytes` of one; absent, nothing goes by size. Above it the
    objects with the oldest newest event go, looked at every ten minutes, and their bytes come back within twenty.
    """

    retention_days: dict[TenantName, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = {}
    max_bytes: Bytes | None = None
    tenant_max_bytes: dict[TenantName, Bytes] = {}
    message_codec: Literal["zstd", "lz4"] = _POLICY.message_codec

    @property
    def policy(self) -> CompactionPolicy:
        return CompactionPolicy(
            retention_days=self.retention_days,
            message_codec=self.message_codec,
            max_bytes=self.max_bytes,
            tenant_max_bytes=self.tenant_max_bytes,
        )

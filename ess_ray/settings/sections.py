"""The sections of the settings, each a frozen model: what can be set, its default, its bounds.

May live here: one section's values, and how they become the arguments of what they limit. May not: where they come
from, and what concerns two sections.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from ess_ray.core.errors import BadRequest
from ess_ray.core.event import DEFAULT_TENANT, check_tenant

_MIB: Final = 1024 * 1024
_YEAR_S: Final = 365.25 * 86_400

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
    """Where HTTP listens."""

    host: str = "127.0.0.1"
    port: Port = 8000


class Log(_Section):
    """The event log: in the data directory, or on Kafka where `brokers` (`HOST:PORT,HOST:PORT`) is given.

    `vnodes` is fixed when the log is made: afterwards its own number counts. It is 8 in the data directory and 64 on
    Kafka, where it is the number of partitions. The rest is Kafka's (see `adapters.kafka_wire.KafkaSettings`).
    """

    vnodes: Annotated[int, Field(ge=1, le=1024)] | None = None
    brokers: str = ""
    topic: str = "ess-events"
    foreign_tenant: TenantName = DEFAULT_TENANT
    """Whose the records are that other programs write to the topic."""
    replication: Annotated[int, Field(ge=1, le=16)] = 3
    min_insync_replicas: Annotated[int, Field(ge=1, le=16)] = 2
    retention_s: Annotated[int, Field(ge=60)] = 7 * 86_400
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    username: str | None = None
    password: SecretStr | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    @property
    def vnode_count(self) -> int:
        """The number of virtual nodes of a log that is made."""
        return self.vnodes or (64 if self.brokers else 8)

    def as_kafka(self) -> dict[str, Any]:
        """Give the arguments of `KafkaSettings`."""
        told = self.model_dump(exclude={"vnodes", "password", "foreign_tenant"})
        password = None if self.password is None else self.password.get_secret_value()
        return {**told, "vnodes": self.vnode_count, "password": password}


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

    warn_bytes: Bytes = 2048 * _MIB
    reserve_bytes: Annotated[int, Field(ge=16 * _MIB)] = 512 * _MIB

    def as_limits(self) -> dict[str, Any]:
        """Give the arguments of `disk.DiskLimits`."""
        return self.model_dump()


class Persist(_Section):
    """The pool that carries the log to the object store. Sizes are Arrow bytes in memory, of one actor."""

    actors: Annotated[int, Field(ge=1, le=1024)] = 2
    seal_bytes: Bytes = 64 * _MIB
    seal_age_s: Seconds = 30.0
    max_buffer_bytes: Bytes = 1024 * _MIB

    def as_limits(self) -> dict[str, Any]:
        """Give the arguments of `ingest.writer.WriterLimits` that are settings."""
        return {
            "seal_bytes": self.seal_bytes,
            "seal_age_us": round(self.seal_age_s * 1_000_000),
            "max_buffer_bytes": self.max_buffer_bytes,
        }


class Search(_Section):
    """What bounds one search; bytes are stored bytes.

    `replicas` to `max_replicas` (absent: the same) answer queries, as many as their requests need; more than one share
    their answers in Redis (`results.redis_url`).
    """

    replicas: Replicas = 1
    max_replicas: Replicas | None = None
    freshness_timeout_s: Seconds = 2.0
    task_bytes: Bytes = 16 * _MIB
    in_place_bytes: Annotated[int, Field(ge=0)] = 4 * _MIB
    attempts: Annotated[int, Field(ge=1, le=100)] = 3
    hints_within_s: Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)] = 2.0
    """What an answer without rows may wait for what could have been meant."""
    executor: Literal["ray", "lambda", "auto"] = "ray"
    """Who scans when a query does not say."""

    def as_limits(self) -> dict[str, Any]:
        """Give the arguments of `search.run.SearchLimits`."""
        return self.model_dump(exclude={"replicas", "max_replicas", "executor"})

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
    timeout_s: Annotated[float, Field(gt=0, le=900)] = 60.0
    memory_mb: Annotated[int, Field(ge=128, le=10_240)] = 1_769
    max_concurrency: Annotated[int, Field(ge=1, le=100_000)] = 900
    task_bytes: Bytes = 32 * _MIB
    """Two seconds of scanning: worth a start that takes one or two the first time."""
    attempts: Annotated[int, Field(ge=1, le=100)] = 3
    max_cost_usd: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    usd_per_gb_second: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0000166667

    def as_location(self) -> dict[str, Any]:
        """Give the arguments of `adapters.lambda_function.FunctionLocation`."""
        return {
            "name": self.function,
            "region": self.region,
            "endpoint": self.endpoint,
            "access_key": None if self.access_key is None else self.access_key.get_secret_value(),
            "secret_key": None if self.secret_key is None else self.secret_key.get_secret_value(),
            "timeout_s": self.timeout_s,
            "memory_mb": self.memory_mb,
        }


class Results(_Section):
    """Where answers are kept (in memory of the one search replica, or in Redis at `redis_url`), how long, how much."""

    redis_url: SecretStr | None = None
    ttl_s: Seconds = 3600.0
    max_rows: Annotated[int, Field(ge=1, le=200_000)] = 200_000
    max_bytes: Bytes = 256 * _MIB

    def as_limits(self) -> dict[str, Any]:
        """Give the arguments of the result stores that are settings."""
        return self.model_dump(exclude={"redis_url"})


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

    replicas: Replicas = 2
    max_replicas: Replicas | None = None
    max_batch_bytes: Bytes = 64 * _MIB
    max_event_age_s: Seconds = 10 * _YEAR_S
    max_clock_skew_s: Seconds = 600.0
    keys_in_addresses: bool = False
    elasticsearch_version: Annotated[str, Field(pattern=r"^[1-9][0-9]?\.[0-9]{1,3}\.[0-9]{1,3}$")] = "8.19.0"
    parse: dict[TenantName, str] = {}
    fields: dict[TenantName, dict[str, list[Annotated[str, Field(min_length=1)]]]] = {}

    def as_limits(self) -> dict[str, Any]:
        """Give the arguments of `intake.limits.IntakeLimits`."""
        return {
            "max_batch_bytes": self.max_batch_bytes,
            "max_event_age_us": round(self.max_event_age_s * 1_000_000),
            "max_clock_skew_us": round(self.max_clock_skew_s * 1_000_000),
        }

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
    message_codec: Literal["zstd", "lz4"] = "zstd"

    def as_limits(self) -> dict[str, Any]:
        """Give the arguments of `compaction.CompactionPolicy`."""
        return self.model_dump()

"""What bounds each part of a system, with the value that holds where nobody sets another: each written here once.

The parts take these values; `settings` builds them from `ess.yaml` and variables, and has its defaults from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from ess_ray.core.answer import MAX_LIMIT
from ess_ray.core.tenant import DEFAULT_TENANT

_KIB: Final = 1024
_MIB: Final = 1024 * 1024
_SECOND_US: Final = 1_000_000

VNODES: Final = 8
"""Virtual nodes of a log in the data directory: enough for a few persist actors, little to follow for one."""
PERSIST_ACTORS: Final = 2
PUSH_REPLICAS: Final = 2
"""Python decodes on one core each; two keep both cores of the smallest machine at work."""
SEARCH_REPLICAS: Final = 1
"""More than one need Redis for their answers."""

FUNCTION_TIMEOUT_S: Final = 60.0
FUNCTION_MEMORY_MB: Final = 1_769
"""AWS gives a whole CPU from here on."""

ExecutorName = Literal["ray", "lambda", "auto"]
EXECUTOR: Final = "ray"
"""Who scans when neither a query nor the settings say."""
LOKI_LABELS: Final = (
    *("namespace", "pod", "container", "cluster", "env", "environment", "region", "filename"),
    *("k8s.namespace.name", "k8s.pod.name", "k8s.container.name", "deployment.environment"),
)
"""What agents of Loki and OpenTelemetry label streams with, besides what becomes a column."""


@dataclass(frozen=True, slots=True)
class WriterLimits:
    """What bounds a writer; sizes are of Arrow bytes in memory."""

    seal_bytes: int = 64 * _MIB
    seal_age_us: int = 30 * _SECOND_US
    max_buffer_bytes: int = 1024 * _MIB
    read_bytes: int = 8 * _MIB
    """One read of one virtual node: about ten full records, so that no node starves the others."""
    many_hours: int = 24
    """A flush that touches more hours of event time than this is an import: sealed by size only."""
    reput_after_us: int = 600 * _SECOND_US
    """Sealing to commit may take so long before the objects are put again: far below the orphans' age."""


@dataclass(frozen=True, slots=True)
class SearchLimits:
    """What bounds one search; bytes are stored bytes."""

    freshness_timeout_s: float = 2.0
    task_bytes: int = 16 * _MIB
    """Bytes left to read in one task: about a second of scanning, so that cancelling and stopping early stay cheap."""
    in_place_bytes: int = 4 * _MIB
    """Up to here a search is done where it is planned: a task costs more than it saves."""
    attempts: int = 3
    """Tries an object gets before it is named as failed."""
    max_running: int = 8
    """Searches and counts of one tenant that a replica runs at a time; others wait. More take memory and no less time:
    a scan keeps a core at work, and the smallest machine has two."""
    max_queued: int = 100
    """Of one tenant that wait for their turn: more are refused (429), as their clients would not wait so long."""
    hints_within_s: float = 2.0
    """What finding hints may add to an answer that has nothing to show. They take a twentieth of a second as a rule; on
    a machine that has much to do, a reader who found nothing waits rather than not being told what was misspelt."""


@dataclass(frozen=True, slots=True)
class InvokeLimits:
    """What bounds the invocations of one search, and what they cost (us-east-1, x86-64, end of 2025)."""

    attempts: int = 3
    """Invocations of a task that may be lost before its objects are named as failed."""
    throttled_s: float = 60.0
    """So long may every invocation be refused, none running, before the search fails."""
    slot_poll_s: float = 0.05
    """How often a free slot is looked for while all are taken: others hold them too, and nobody tells."""
    usd_per_gb_second: float = 0.0000166667
    usd_per_invocation: float = 0.0000002

    def cost_usd(self, invocations: int, gb_seconds: float) -> float:
        """Estimate what is billed, without requests to the store."""
        return invocations * self.usd_per_invocation + gb_seconds * self.usd_per_gb_second


@dataclass(frozen=True, slots=True)
class LambdaLimits:
    """How the function is used, by all searches together and by one."""

    max_concurrency: int = 900
    """Of the 1,000 of an AWS account, shared by all searches and replicas."""
    task_bytes: int = 32 * _MIB
    """Two seconds of scanning: worth a start that takes one or two the first time."""
    max_cost_usd: float = 1.0
    """What a search with executor auto may spend on Lambda."""


@dataclass(frozen=True)
class RequestLimits:
    """What one request of the front door may hold."""

    max_batch_bytes: int = 64 * _MIB
    """A body after decompression, of any number of events: agents that catch up send tens of megabytes, and take a
    refusal for final. It is read a piece at a time (`formats.json_pieces`)."""
    max_event_age_us: int = 315_576_000 * _SECOND_US
    """Ten years of 365.25 days: older is a clock or a unit gone wrong."""
    max_clock_skew_us: int = 600 * _SECOND_US
    """Ten minutes ahead of our clock: more would sort wrong events to the top for that long."""


@dataclass(frozen=True)
class ListenAt:
    """Where one protocol that is no HTTP is listened for. `is_explicit`: the port was chosen, and is not merely the
    usual one.

    `tenant`: whose the events are; None: the default one's, as long as there are no keys. `time_zone`: of times that
    name none, as IANA names it; None is this machine's. The files are PEM's.
    """

    protocol: str
    host: str
    port: int
    is_explicit: bool = False
    tenant: str | None = None
    time_zone: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    client_ca_file: str | None = None
    client_tenants: tuple[tuple[str, str], ...] = ()
    """(name or fingerprint, tenant) of clients' certificates."""
    shared_keys: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Of the forward protocol: (tenant, secret) for each tenant whose connections begin with a handshake."""
    users: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Of the forward protocol: (name, password), asked for besides."""

    @property
    def asks(self) -> bool:
        """Whether the protocol itself finds out whose a connection is."""
        return bool(self.shared_keys or self.client_tenants)

    @property
    def whose(self) -> str:
        return self.tenant if self.tenant is not None else DEFAULT_TENANT

    @property
    def tenants(self) -> list[str]:
        """Give all tenants into which this may write."""
        asked = {tenant for tenant, _ in self.shared_keys} | {tenant for _, tenant in self.client_tenants}
        return sorted(asked | ({self.tenant} if self.tenant is not None else set())) or [DEFAULT_TENANT]


@dataclass(frozen=True)
class SocketLimits:
    """What the sockets of one protocol may hold. Bytes are those read and not yet durable."""

    max_connections: int = 1_000
    """Each may hold 64 KiB in the process beside what is counted, and 256 KiB in the kernel."""
    max_connections_per_peer: int = 250
    """A quarter: agents behind one address are many, and must not be all."""
    read_bytes: int = 64 * _KIB
    """Read from a connection at once and made durable before more is: what a crash loses of it, three times at most."""
    receive_buffer_bytes: int = 256 * _KIB
    """In the kernel, for a connection: senders take what is there for delivered, and a crash loses it."""
    max_partial_bytes: int = 32 * _MIB
    """Frames that have not ended, of all connections."""
    max_partial_bytes_per_peer: int = 8 * _MIB
    partial_s: float = 300.0
    """How long a frame may not go on: then the connection is closed, and what is there of it counts."""
    room_s: float = 30.0
    """How long a frame that has not ended waits for room in the gate, unread: then the connection is closed."""
    reply_s: float = 30.0
    """How long a client may take no answer."""
    quiet_s: float = 0.5
    """At the end: a connection that has brought nothing for so long is closed."""
    drain_s: float = 3.0
    """At the end: how long connections that go on sending are read."""
    udp_buffer_bytes: int = 8 * _MIB
    """In the kernel, where the system lets us: a burst of tens of thousands of datagrams."""
    udp_waiting_bytes: int = 16 * _MIB
    """Datagrams in the process: behind it the kernel's buffer fills, and then drops, counted."""
    udp_batch_bytes: int = 128 * _KIB
    """Datagrams that become events together."""
    datagrams_a_turn: int = 256
    """Read in one turn of the event loop: about two milliseconds."""


SOCKETS: Final = SocketLimits()


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """How long a stored answer is kept after it was last written to, and how much it holds."""

    ttl_s: float = 3600.0
    max_rows: int = MAX_LIMIT
    max_bytes: int = 256 * _MIB
    """Arrow bytes: beyond, the answer is `truncated`."""


@dataclass(frozen=True)
class CompactionPolicy:
    """What can be chosen: how long each tenant's events are kept (absent: for ever), the codec of `message`, and how
    many stored bytes are kept, of all tenants and of one (absent: any)."""

    retention_days: Mapping[str, float] = field(default_factory=dict)
    message_codec: Literal["zstd", "lz4"] = "zstd"
    """lz4 suits fast local disks: larger, and read with less work."""
    max_bytes: int | None = None
    tenant_max_bytes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class DiskLimits:
    """When free space is told, and how much of it is never given to new events."""

    warn_bytes: int = 2048 * _MIB
    """Told below this: about ten minutes of the fastest push that two cores take."""
    reserve_bytes: int = 512 * _MIB
    """Kept beside what the log holds: a merge (128 MiB), the write-ahead log moved into its database (128 MiB), our own
    log file (128 MiB), and commits, checkpoints and what others write between two looks."""


SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


@dataclass(frozen=True, slots=True)
class KafkaDefaults:
    """A log on Kafka where only its brokers are told. The numbers are those of a topic that is made."""

    topic: str = "ess-events"
    vnodes: int = 64
    """Partitions: they cannot become fewer, and events move when they become more."""
    replication: int = 3
    min_insync_replicas: int = 2
    """Acknowledged records are on so many brokers; the log is safe, and open, without the rest of `replication`."""
    retention_s: int = 7 * 86_400
    """How long a stopped pool may be repaired before records that were not stored are lost."""
    security_protocol: SecurityProtocol = "PLAINTEXT"
    sasl_mechanism: SaslMechanism = "SCRAM-SHA-512"


KAFKA: Final = KafkaDefaults()

"""Where a Kafka log lies and how it is reached: the description alone, which processes without Kafka know too."""

from __future__ import annotations

import ssl
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ess_ray.core.errors import BadRequest
from ess_ray.limits import KAFKA

if TYPE_CHECKING:  # its library takes a fifth of a second to import, in each process
    from ess_ray.settings import Settings

PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass(frozen=True)
class KafkaSettings:
    """Where the event log lies and how it is reached. Times in seconds; `brokers` is `HOST:PORT,HOST:PORT`.

    `vnodes`, `replication`, `min_insync_replicas` and `retention_s` count when the topic is made; a topic that is
    there keeps its own. The log is safe from the loss of `replication - min_insync_replicas` brokers without pause.
    """

    brokers: str
    topic: str = KAFKA.topic
    vnodes: int = KAFKA.vnodes
    _: KW_ONLY
    replication: int = KAFKA.replication
    min_insync_replicas: int = KAFKA.min_insync_replicas
    retention_s: int = KAFKA.retention_s
    group: str = "ess-ray"
    """The consumer group whose committed offsets tell lag tools how far the catalog is."""
    append_timeout_s: float = 10.0
    """An append that is not acknowledged by then is answered with Unavailable: an election takes a few seconds."""
    read_timeout_s: float = 5.0
    request_timeout_s: float = 5.0
    security_protocol: str = KAFKA.security_protocol
    sasl_mechanism: str = KAFKA.sasl_mechanism
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    """PEM; None: the system's authorities."""
    cert_file: str | None = None
    key_file: str | None = None

    def __post_init__(self) -> None:
        """Raise BadRequest for what can be seen to be wrong without a broker."""
        if self.security_protocol not in PROTOCOLS:
            raise BadRequest(
                f"the log's security protocol is one of {', '.join(PROTOCOLS)}, not {self.security_protocol}"
            )
        if self.security_protocol.startswith("SASL"):
            if self.sasl_mechanism not in MECHANISMS:
                raise BadRequest(
                    f"the log's SASL mechanism is one of {', '.join(MECHANISMS)}, not {self.sasl_mechanism}"
                )
            if self.username is None or self.password is None:
                raise BadRequest(
                    f"the log's security protocol {self.security_protocol} needs a username and a password"
                )

    def client_options(self) -> dict[str, Any]:
        """Give the arguments of aiokafka's clients. Raises BadRequest when a certificate cannot be read."""
        options: dict[str, Any] = {
            "bootstrap_servers": [broker.strip() for broker in self.brokers.split(",")],
            "client_id": "ess-ray",
            "request_timeout_ms": round(self.request_timeout_s * 1000),
            "security_protocol": self.security_protocol,
        }
        if self.security_protocol.startswith("SASL"):
            options["sasl_mechanism"] = self.sasl_mechanism
            options["sasl_plain_username"] = self.username
            options["sasl_plain_password"] = self.password
        if self.security_protocol.endswith("SSL"):
            try:
                context = ssl.create_default_context(cafile=self.ca_file)
                if self.cert_file is not None:
                    context.load_cert_chain(self.cert_file, self.key_file)
            except OSError as error:
                files = ", ".join(str(file) for file in (self.ca_file, self.cert_file, self.key_file) if file)
                raise BadRequest(f"the log's certificates cannot be read ({files}): {error}") from error
            options["ssl_context"] = context
        return options


def kafka_of(settings: Settings) -> KafkaSettings | None:
    """Read from the settings where the log is on Kafka; None where it is in the data directory. Raises BadRequest."""
    log = settings.log
    if not log.brokers:
        return None
    return KafkaSettings(
        brokers=log.brokers,
        topic=log.topic,
        vnodes=log.vnode_count,
        replication=log.replication,
        min_insync_replicas=log.min_insync_replicas,
        retention_s=log.retention_s,
        security_protocol=log.security_protocol,
        sasl_mechanism=log.sasl_mechanism,
        username=log.username,
        password=None if log.password is None else log.password.get_secret_value(),
        ca_file=log.ca_file,
        cert_file=log.cert_file,
        key_file=log.key_file,
    )

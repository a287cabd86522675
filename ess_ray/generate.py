"""Realistic log events from a seed: the same arguments give the same events, on any machine.

A shop of eight services: each request crosses nginx, a gateway and what its path needs, all with one trace id; beside
them a Kafka consumer, Kubernetes and a JVM that now and then throws. About 110 B a message and 330 B as JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from random import Random
from typing import Any, Final

Event = dict[str, Any]
_Draft = tuple[str, str, str, str, dict[str, Any]]
"""(service, host, level, message, attributes) of an event that has no time yet."""

SECOND_US: Final = 1_000_000
DEFAULT_SPAN_US: Final = 3600 * SECOND_US
_TABLE: Final = 4096
"""Values drawn ahead for each skewed choice: drawing from a table costs one index. A power of two: see `_Shop`."""
_USERS: Final = 50_000
_REGIONS: Final = ("eu-west-1", "eu-west-1", "eu-west-1", "us-east-1", "us-east-1", "ap-south-1")
_AGENTS: Final = (
    "Mozilla/5.0 (X11; Linux x86_64)",
    "okhttp/4.12.0",
    "curl/8.5.0",
    "python-httpx/0.28",
    "kube-probe/1.31",
)
_PATHS: Final = (
    ("GET", "/api/v1/products?category=%d", "catalog", 40),
    ("GET", "/api/v1/products/%d", "catalog", 25),
    ("GET", "/api/v1/cart/%d", "orders", 12),
    ("POST", "/api/v1/login?attempt=%d", "auth", 8),
    ("POST", "/api/v1/orders/%d", "orders", 8),
    ("POST", "/api/v1/payments/%d", "payments", 5),
    ("DELETE", "/api/v1/cart/%d", "orders", 2),
)
_STATUSES: Final = ((200, 880), (201, 40), (304, 30), (404, 20), (401, 12), (429, 5), (500, 8), (503, 5))
_EXCEPTIONS: Final = (
    ("java.net.SocketTimeoutException", "Read timed out after %d ms"),
    ("java.sql.SQLTransientConnectionException", "HikariPool-1 - no connection available after %d ms"),
    ("com.shop.payments.CardDeclinedException", "issuer declined the card, code %d"),
    ("java.lang.NullPointerException", 'Cannot invoke "Order.lines()" because "order" is null (order %d)'),
)
_FRAMES: Final = (
    "com.shop.payments.PaymentService.charge(PaymentService.java:%d)",
    "com.shop.payments.PaymentController.post(PaymentController.java:%d)",
    "com.shop.common.RetryTemplate.execute(RetryTemplate.java:%d)",
    "org.springframework.web.servlet.DispatcherServlet.doDispatch(DispatcherServlet.java:%d)",
    "org.apache.catalina.core.ApplicationFilterChain.doFilter(ApplicationFilterChain.java:%d)",
    "java.base/java.util.concurrent.ThreadPoolExecutor.runWorker(ThreadPoolExecutor.java:%d)",
    "java.base/java.lang.Thread.run(Thread.java:%d)",
)
_TOPICS: Final = ("orders.created", "payments.settled", "stock.changed", "mail.outbox")


def events(count: int, seed: int, end_us: int, span_us: int = DEFAULT_SPAN_US) -> Iterator[Event]:
    """Give `count` pushable events in ascending time within [end_us - span_us, end_us). Deterministic.

    `timestamp` is RFC 3339 with microseconds; `trace_id` and `span_id` are absent where a real one would be.
    """
    shop, made, start_us = _Shop(seed), 0, end_us - span_us
    second, prefix = None, ""
    while made < count:
        trace_id, drafts = shop.next()
        for service, host, level, message, attributes in drafts[: count - made]:
            now_second, micro = divmod(start_us + span_us * made // count, SECOND_US)
            if now_second != second:  # formatting a date costs more than all the rest of an event
                second, prefix = now_second, f"{datetime.fromtimestamp(now_second, UTC):%Y-%m-%dT%H:%M:%S}."
            event: Event = {
                "timestamp": f"{prefix}{micro:06d}Z",
                "level": level,
                "service": service,
                "host": host,
                "message": message,
            }
            if trace_id:
                event["trace_id"] = trace_id
                if service != "nginx":  # it passes the trace on and has no span of its own
                    event["span_id"] = shop.span_id()
            event["attributes"] = attributes
            made += 1
            yield event


def _skewed(random: Random, choices: tuple[tuple[Any, int], ...]) -> list[Any]:
    values, weights = zip(*choices, strict=True)
    return random.choices(values, weights, k=_TABLE)


class _Shop:
    """The services. Each unit of work is drawn from one block of random bits, cut into table indices by shifts."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        draw = self._random
        self._bits = draw.getrandbits
        self._paths = _skewed(draw, tuple(((method, path, to), share) for method, path, to, share in _PATHS))
        self._statuses = _skewed(draw, _STATUSES)
        self._durations_ms = [round(draw.lognormvariate(3.2, 1.0), 1) for _ in range(_TABLE)]
        self._users = [f"u-{int(_USERS * draw.random() ** 3):05d}" for _ in range(_TABLE)]
        names = ("nginx", "api-gateway", "auth", "payments", "orders", "catalog", "order-consumer", "kubelet")
        self._hosts = {name: tuple(f"{name}-{draw.getrandbits(20):05x}" for _ in range(4)) for name in names}
        self._work: list[Callable[[int], tuple[str, list[_Draft]]]] = _skewed(
            draw, ((self._request, 84), (self._consume, 12), (self._kubernetes, 4))
        )

    def next(self) -> tuple[str, list[_Draft]]:
        """Give the next unit of work: its trace id ("" for none) and its events in order."""
        bits = self._bits(96)
        return self._work[bits & 4095](bits >> 12)

    def span_id(self) -> str:
        return f"{self._bits(64):016x}"

    def _host(self, service: str, bits: int) -> str:
        return self._hosts[service][bits & 3]

    def _request(self, bits: int) -> tuple[str, list[_Draft]]:
        method, path, target = self._paths[bits & 4095]
        status, took_ms = self._statuses[(bits >> 12) & 4095], self._durations_ms[(bits >> 24) & 4095]
        user, number = self._users[(bits >> 36) & 4095], (bits >> 48) & 0xFFFF
        region, request = _REGIONS[number % len(_REGIONS)], f"{method} {path % number}"
        level = "ERROR" if status >= 500 else "WARN" if status in (401, 429) else "INFO"
        text = (
            f"{request} -> {status} in {took_ms} ms upstream={target} user={user} bytes={number * 3} retries={bits & 1}"
        )
        attributes = {"region": region, "user_id": user, "http.status": status, "duration_ms": took_ms}
        drafts = [
            self._access(bits >> 50, request, status, took_ms, region),
            ("api-gateway", self._host("api-gateway", number), level, text, attributes),
        ]
        if number & 3 == 0:
            drafts.insert(1, self._token(number, user, status, region))
        if status < 400 or status >= 500:
            drafts.append(self._backend(target, number, took_ms, status, region))
        if status == 500:
            drafts.append(self._thrown(target, number, region))
        return f"{self._bits(128):032x}", drafts

    def _access(self, bits: int, request: str, status: int, took_ms: float, region: str) -> _Draft:
        address, agent = f"10.{bits & 7}.{(bits >> 3) & 255}.{(bits >> 11) & 255}", _AGENTS[bits % len(_AGENTS)]
        line = (
            f'{address} - - "{request} HTTP/1.1" {status} {(bits >> 5) & 0xFFFF} "-" "{agent}" '
            f"rt={took_ms / 1000:.3f} urt={took_ms / 1100:.3f} cache=MISS"
        )
        return "nginx", self._host("nginx", bits), "INFO", line, {"region": region, "http.status": status}

    def _token(self, number: int, user: str, status: int, region: str) -> _Draft:
        host, key = self._host("auth", number >> 2), f"kid=key-{number % 7}"
        level, text = (
            "DEBUG",
            f"verified token for user {user}: {key} scope=read,write issuer=shop hit={number % 3 > 0}",
        )
        if status == 401:
            level, text = "WARN", f"rejected token for user {user}: expired {number % 900} s ago, {key} issuer=shop"
        return "auth", host, level, text, {"region": region, "user_id": user}

    def _backend(self, target: str, number: int, took_ms: float, status: int, region: str) -> _Draft:
        host, query_ms = self._host(target, number >> 1), round(took_ms * 0.6, 1)
        level = "DEBUG" if number & 7 == 0 else "INFO"
        text = (
            f"loaded {number % 97} rows for id {number} from {target}_db in {query_ms} ms "
            f"(cache miss, shard {number % 16}, pool {number % 20}/20, attempt 1)"
        )
        if status >= 500:
            level = "ERROR"
            text = f"upstream call failed: Connection reset by peer (id {number}, attempt 3 of 3, waited {took_ms} ms)"
        elif took_ms > 150:
            level = "WARN"
            text = (
                f"slow query: SELECT * FROM {target} WHERE id = {number} took {query_ms} ms, pool {number % 20}/20 busy"
            )
        elif target == "payments":
            card = f"card ****{number % 10_000:04d}, risk 0.{number % 97:02d}"
            text = f"payment {number:06d} authorised: {number / 100:.2f} EUR by {card}, acquirer=acme-{number % 5}"
        return target, host, level, text, {"region": region, "duration_ms": query_ms}

    def _thrown(self, target: str, number: int, region: str) -> _Draft:
        name, text = _EXCEPTIONS[number % len(_EXCEPTIONS)]
        lines = [f"Unhandled exception in {target}: {name}: {text % number}"]
        lines += [f"\tat {frame % (number % 400 + at)}" for at, frame in enumerate(_FRAMES, 1)]
        level, attributes = "FATAL" if number & 31 == 0 else "ERROR", {"region": region, "exception.type": name}
        return target, self._host(target, number >> 1), level, "\n".join(lines), attributes

    def _consume(self, bits: int) -> tuple[str, list[_Draft]]:
        number, topic, lag = (bits >> 36) & 0xFFFFF, _TOPICS[bits & 3], (bits >> 2) & 255
        took_ms, region = self._durations_ms[(bits >> 12) & 4095], _REGIONS[bits % len(_REGIONS)]
        partition = f"{topic}-{number % 12}"
        level, text = "INFO", f"processed {partition}@{number} in {took_ms} ms, lag {lag}, batch of {number % 500}"
        if lag > 245:
            level, text = "WARN", f"lag of {partition} is {lag * 37}, rebalance in progress, generation {number % 90}"
        text = f"[Consumer clientId=order-consumer-{number & 3}, groupId=orders] {text}"
        attributes = {"region": region, "kafka.lag": lag, "duration_ms": took_ms}
        host = self._host("order-consumer", number)
        return f"{self._bits(128):032x}", [("order-consumer", host, level, text, attributes)]

    def _kubernetes(self, bits: int) -> tuple[str, list[_Draft]]:
        number, kind = (bits >> 36) & 0xFFFF, bits & 7
        pod = self._host(tuple(self._hosts)[number % 7], number >> 3)
        level, text = "INFO", f'"Probe succeeded" probeType="Readiness" containerName="app" elapsed="{number % 90}ms"'
        if kind == 0:
            level = "WARN"
            text = f'"Back-off restarting failed container" restartCount={number % 9} reason="OOMKilled" exitCode=137'
        elif kind == 1:
            image = f"registry.shop.internal/app:1.{number % 90}"
            level, text = "ERROR", f'"Error syncing pod, skipping" err="failed to pull image {image}: not found"'
        region = _REGIONS[number % len(_REGIONS)]
        attributes = {"region": region, "k8s.namespace": "shop", "k8s.pod": pod}
        return "", [("kubelet", self._host("kubelet", number), level, f'{text} pod="shop/{pod}"', attributes)]

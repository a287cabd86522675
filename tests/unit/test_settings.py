"""Settings: order of sources, refusal of unknown names and wrong values, nothing secret in what is printed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ess_ray.adapters.kafka_settings import KafkaSettings, kafka_of
from ess_ray.adapters.lambda_function import FunctionLocation, function_of
from ess_ray.adapters.places import places_of
from ess_ray.core.errors import BadRequest
from ess_ray.intake.limits import IntakeLimits
from ess_ray.limits import (
    LOKI_LABELS,
    AnswerLimits,
    CompactionPolicy,
    DiskLimits,
    InvokeLimits,
    LambdaLimits,
    RequestLimits,
    SearchLimits,
    WriterLimits,
)
from ess_ray.runtime.wiring import Replicas, System
from ess_ray.settings import known_variables, load


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("ESS_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_the_defaults_are_the_embedded_profile() -> None:
    settings = load()
    assert (settings.data_dir, settings.url) == (Path("ess-data"), "http://127.0.0.1:8000")
    assert (settings.http.host, settings.http.port, settings.log.vnode_count, settings.persist.actors) == (
        "127.0.0.1",
        8000,
        8,
        2,
    )
    assert settings.push.max_batch_bytes == 64 * 1024 * 1024


def test_arguments_come_before_variables_before_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("ess.yaml").write_text("data_dir: from-file\nhttp: {port: 1001, host: 127.0.0.2}\nlog: {vnodes: 3}\n")
    monkeypatch.setenv("ESS_HTTP__PORT", "1002")
    monkeypatch.setenv("ESS_DATA_DIR", "from-variable")
    settings = load(data_dir="from-argument", url=None)
    assert settings.data_dir == Path("from-argument")
    assert (settings.http.port, settings.http.host, settings.log.vnodes) == (1002, "127.0.0.2", 3)
    assert load().data_dir == Path("from-variable")


def test_the_file_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("other.yaml").write_text("persist: {actors: 5}")
    monkeypatch.setenv("ESS_CONFIG", "other.yaml")
    assert load().persist.actors == 5
    monkeypatch.setenv("ESS_CONFIG", "missing.yaml")
    with pytest.raises(BadRequest, match=r"missing\.yaml"):
        load()


def test_the_version_that_elasticsearchs_clients_are_told_is_one() -> None:
    assert load().push.elasticsearch_version == "8.19.0"
    assert load(push={"elasticsearch_version": "7.17.9"}).push.elasticsearch_version == "7.17.9"
    for version in ("8", "8.19", "v8.19.0", "8.19.0-SNAPSHOT", "0.1.2"):
        with pytest.raises(BadRequest, match="elasticsearch_version"):
            load(push={"elasticsearch_version": version})


@pytest.mark.parametrize(
    ("name", "value", "nearest"),
    [
        ("ESS_HTTP__PROT", "1", "ESS_HTTP__PORT"),
        ("ESS_DATADIR", "elsewhere", "ESS_DATA_DIR"),
        ("ESS_HTTP", "tcp://10.0.0.7:80", None),  # a section's name: nobody gives a section as a whole
        # What Kubernetes sets for a service named `ess`.
        ("ESS_PORT", "tcp://10.0.0.7:8000", None),
        ("ESS_SERVICE_HOST", "10.0.0.7", None),
        ("ESS_PORT_8000_TCP", "tcp://10.0.0.7:8000", None),
    ],
)
def test_an_unknown_variable_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, value: str, nearest: str | None
) -> None:
    before = load()
    monkeypatch.setenv(name, value)
    assert load() == before
    (warning,) = caplog.messages
    assert f"{name} is no setting" in warning
    assert nearest is None or f"did you mean {nearest}?" in warning


def test_an_unknown_name_in_the_file_is_refused_at_every_depth() -> None:
    Path("ess.yaml").write_text("htp: {port: 1}\nsearch: {atempts: 2}\n")
    with pytest.raises(BadRequest) as caught:
        load()
    assert "htp is unknown (did you mean http?)" in caught.value.message
    assert "search.atempts is unknown (did you mean search.attempts?)" in caught.value.message


@pytest.mark.parametrize("text", ["- a\n- b\n", "just text", "a: [1, hunter2", "http: 3", "http: {port: 70000}"])
def test_a_wrong_file_is_refused_without_showing_it(text: str) -> None:
    Path("ess.yaml").write_text(text)
    with pytest.raises(BadRequest) as caught:
        load()
    assert "hunter2" not in caught.value.message


def test_a_wrong_value_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESS_HTTP__PORT", "hunter2")
    with pytest.raises(BadRequest, match=r"http\.port") as caught:
        load()
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize("url", ["http://me:hunter2@127.0.0.1:8000", "127.0.0.1:8000", "ftp://127.0.0.1"])
def test_an_address_that_is_none_or_holds_a_password_is_refused(url: str) -> None:
    with pytest.raises(BadRequest, match="url: ") as caught:
        load(url=url)
    assert "hunter2" not in caught.value.message


def test_every_setting_can_be_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    told = load().model_dump()
    told["lambda"] = told.pop("lambda_")
    for name in set(known_variables()) - {"ESS_CONFIG"}:
        value = told
        for part in name.removeprefix("ESS_").lower().split("__"):
            value = value[part]
        if value is None:  # not given, which no text says
            continue
        monkeypatch.setenv(name, json.dumps(value) if isinstance(value, tuple) else str(value))
    again = load().model_dump()
    again["lambda"] = again.pop("lambda_")
    assert again == told


def test_secrets_are_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KEY", "LOG__PASSWORD", "STORE__ACCESS_KEY", "STORE__SECRET_KEY", "RESULTS__REDIS_URL"):
        monkeypatch.setenv(f"ESS_{name}", "ess_0123_hidden")
    settings = load()
    assert settings.key is not None
    assert settings.key.get_secret_value() == "ess_0123_hidden"
    for shown in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert "hidden" not in shown


def test_the_limits_are_those_of_the_parts_that_read_them() -> None:
    """A system of which nothing is told has in every part the values that the settings have by default."""
    settings = load()
    system = System(places_of(settings), "ess")
    assert settings.persist.limits == system.writer == WriterLimits()
    assert settings.search.limits == system.search == SearchLimits()
    assert settings.lambda_.limits == system.lambda_limits == LambdaLimits()
    assert settings.lambda_.invoke_limits == system.invoke == InvokeLimits()
    assert settings.push.limits == RequestLimits()
    assert IntakeLimits.of(settings.push.limits, {}, {}) == system.intake == IntakeLimits()
    assert settings.results.limits == system.answers == AnswerLimits()
    assert settings.maintenance.policy == system.compaction == CompactionPolicy()
    assert settings.disk.limits == system.disk == DiskLimits()
    assert (settings.log.vnode_count, settings.persist.actors) == (system.vnodes, system.persist_actors)
    assert Replicas(settings.push.replicas, settings.push.most_replicas) == system.push_replicas
    assert Replicas(settings.search.replicas, settings.search.most_replicas) == system.search_replicas
    assert (settings.search.executor, settings.log.foreign_tenant) == (system.executor, system.foreign_tenant)
    assert settings.push.elasticsearch_version == system.elasticsearch_version
    assert settings.search.loki_labels == system.loki_labels == LOKI_LABELS
    assert settings.push.keys_in_addresses == system.keys_in_addresses


def test_a_log_on_kafka_and_a_function_have_the_defaults_of_the_settings() -> None:
    assert kafka_of(load()) is None
    assert kafka_of(load(log={"brokers": "h:1"})) == KafkaSettings("h:1")
    assert function_of(load()) is None
    location = function_of(load(**{"lambda": {"function": "scan"}}))
    assert location == FunctionLocation("scan", "us-east-1")


def test_every_limit_that_is_set_arrives() -> None:
    settings = load(
        log={"brokers": "h:1", "vnodes": 3, "topic": "t", "replication": 2, "min_insync_replicas": 1}
        | {"retention_s": 61, "ca_file": "ca", "cert_file": "cert", "key_file": "key"}
        | {"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN", "username": "me", "password": "hush"},
        persist={"seal_bytes": 1, "seal_age_s": 2.5, "max_buffer_bytes": 3},
        search={"freshness_timeout_s": 1, "task_bytes": 2, "in_place_bytes": 3, "attempts": 4, "hints_within_s": 5},
        push={"max_batch_bytes": 1, "max_event_age_s": 2.5, "max_clock_skew_s": 3},
        results={"ttl_s": 1, "max_rows": 2, "max_bytes": 3},
        maintenance={"message_codec": "lz4", "max_bytes": 1, "tenant_max_bytes": {"a": 2}, "retention_days": {"a": 3}},
        disk={"warn_bytes": 1, "reserve_bytes": 16 << 20},
        **{
            "lambda": {"function": "f", "region": "r", "endpoint": "http://h", "access_key": "a", "secret_key": "s"}
            | {"timeout_s": 1, "memory_mb": 128, "max_concurrency": 2, "task_bytes": 3, "attempts": 4}
            | {"max_cost_usd": 5, "usd_per_gb_second": 6}
        },
    )
    assert settings.persist.limits == WriterLimits(seal_bytes=1, seal_age_us=2_500_000, max_buffer_bytes=3)
    assert settings.search.limits == SearchLimits(
        freshness_timeout_s=1, task_bytes=2, in_place_bytes=3, attempts=4, hints_within_s=5
    )
    assert settings.push.limits == RequestLimits(
        max_batch_bytes=1, max_event_age_us=2_500_000, max_clock_skew_us=3_000_000
    )
    assert settings.results.limits == AnswerLimits(ttl_s=1, max_rows=2, max_bytes=3)
    assert settings.maintenance.policy == CompactionPolicy(
        retention_days={"a": 3}, message_codec="lz4", max_bytes=1, tenant_max_bytes={"a": 2}
    )
    assert settings.disk.limits == DiskLimits(warn_bytes=1, reserve_bytes=16 << 20)
    assert settings.lambda_.limits == LambdaLimits(max_concurrency=2, task_bytes=3, max_cost_usd=5)
    assert settings.lambda_.invoke_limits == InvokeLimits(attempts=4, usd_per_gb_second=6)
    assert function_of(settings) == FunctionLocation(
        "f", "r", endpoint="http://h", access_key="a", secret_key="s", timeout_s=1, memory_mb=128
    )
    assert kafka_of(settings) == KafkaSettings(
        brokers="h:1",
        topic="t",
        vnodes=3,
        replication=2,
        min_insync_replicas=1,
        retention_s=61,
        security_protocol="SASL_SSL",
        sasl_mechanism="PLAIN",
        username="me",
        password="hush",
        ca_file="ca",
        cert_file="cert",
        key_file="key",
    )


def test_retention_is_set_per_tenant(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load().maintenance.retention_days == {}
    Path("ess.yaml").write_text("maintenance: {retention_days: {default: 30, audit: 3650.5}}")
    assert load().maintenance.retention_days == {"default": 30, "audit": 3650.5}
    monkeypatch.setenv("ESS_MAINTENANCE__RETENTION_DAYS", '{"default": 7}')
    assert load().maintenance.retention_days["default"] == 7
    assert load().maintenance.policy.message_codec == CompactionPolicy().message_codec


@pytest.mark.parametrize("value", ['{"default": 0}', '{"../etc": 7}', '{"default": "hunter2"}', "7"])
def test_a_wrong_retention_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("ESS_MAINTENANCE__RETENTION_DAYS", value)
    with pytest.raises(BadRequest, match="retention_days") as caught:
        load()
    assert "hunter2" not in caught.value.message


def test_sizes_of_what_is_kept_and_of_what_stays_free(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load().disk.limits == DiskLimits()
    assert load().maintenance.max_bytes is None
    monkeypatch.setenv("ESS_MAINTENANCE__MAX_BYTES", "1000000")
    monkeypatch.setenv("ESS_MAINTENANCE__TENANT_MAX_BYTES", '{"audit": 5000}')
    policy = load().maintenance.policy
    assert (policy.max_bytes, policy.tenant_max_bytes) == (1_000_000, {"audit": 5000})


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("ESS_MAINTENANCE__MAX_BYTES", "0", "maintenance.max_bytes"),
        ("ESS_MAINTENANCE__TENANT_MAX_BYTES", '{"../etc": 5}', "maintenance.tenant_max_bytes"),
        ("ESS_DISK__RESERVE_BYTES", "1", "disk.reserve_bytes"),
    ],
)
def test_a_wrong_size_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(BadRequest, match=told):
        load()

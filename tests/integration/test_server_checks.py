"""What `ess doctor` says of real servers, well and away."""

from __future__ import annotations

from pathlib import Path

from ess_ray.adapters.s3_location import S3Location
from ess_ray.cli.server_checks import server_checks
from ess_ray.settings import Settings, load
from tests.redis_server import redis_server
from tests.systems import free_port


def settings_of(at: S3Location, endpoint: str | None) -> Settings:
    store = {
        "bucket": at.bucket,
        "prefix": at.prefix,
        "endpoint": endpoint,
        "access_key": at.access_key,
        "secret_key": at.secret_key,
    }
    return load(store=store)


def test_a_bucket_that_does_what_is_needed(s3_location: S3Location) -> None:
    found = {check.name: check for check in server_checks(settings_of(s3_location, s3_location.endpoint))}
    assert {name: check.state for name, check in found.items()} == {
        "bucket": "ok",
        "conditional put": "ok",
        "clock": "ok",
    }
    assert s3_location.open().list("ess-doctor") == [], "the probe stayed"


def test_a_bucket_that_lets_nobody_in(s3_location: S3Location) -> None:
    wrong = S3Location(s3_location.bucket, "", s3_location.endpoint, access_key="who", secret_key="wrong-secret")
    (found,) = server_checks(settings_of(wrong, wrong.endpoint))
    assert (found.name, found.state) == ("bucket", "failed")
    assert "wrong-secret" not in found.found


def test_redis_that_evicts_answers_and_redis_away(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        settings = load(results={"redis_url": server.url})
        (found,) = server_checks(settings)
        assert found.state == "ok"
        server.client.config_set("maxmemory", "100mb")
        server.client.config_set("maxmemory-policy", "allkeys-lru")
        (found,) = server_checks(settings)
        assert (found.state, "volatile-ttl" in found.advice) == ("warning", True)
    (found,) = server_checks(load(results={"redis_url": f"redis://127.0.0.1:{free_port()}/0"}))
    assert (found.name, found.state) == ("redis", "failed")


def test_the_embedded_profile_has_no_servers() -> None:
    assert list(server_checks(load())) == []

"""What HAProxy answers through our wrapper, run as Ray Serve runs it: while Serve has no routes for it, and later."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from ess_ray.runtime import environment
from tests.systems import free_port, wait_until

NOT_FOUND = r'http-request return status 404 content-type text/plain lf-string "Path \'%[path]\' not found."'
"""As Serve's template has it."""


@contextmanager
def haproxy(
    folder: Path, *routes: str, behind: Sequence[str] = (), elasticsearch_port: int | None = None, headers_s: int = 10
) -> Iterator[str]:
    """Run HAProxy with a configuration like Serve's, each of whose routes is answered with 200.

    `behind`: lines of further backends.
    """
    dirs = environment.RunDirs(folder)
    environment.prepare(dirs, elasticsearch_port, headers_s=headers_s)
    port = free_port()
    lines = ["defaults", "    mode http", "    timeout connect 1s", "    timeout client 5s", "    timeout server 5s"]
    lines += ["frontend http_frontend", f"    bind *:{port}"]
    for number, route in enumerate(routes):
        lines += [f"    acl is_{number} path_beg {route}/", f"    use_backend b{number} if is_{number}"]
    lines += ["    default_backend default_backend", "backend default_backend", f"    {NOT_FOUND}"]
    told = 'content-type text/plain lf-string "%[pathq]"'
    for number in range(len(routes)):
        lines += [f"backend b{number}", f"    http-request return status 200 {told}"]
    lines += behind
    config = folder / "haproxy.cfg"
    config.write_text("\n".join([*lines, ""]))
    process = subprocess.Popen([str(dirs.haproxy / "haproxy"), "-db", "-f", str(config)])
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: answers(url) or process.poll() is not None, "HAProxy does not answer")
        assert process.poll() is None, config.read_text()
        yield url
    finally:
        process.kill()
        process.wait()


def answers(url: str) -> bool:
    try:
        httpx.get(url)
    except httpx.TransportError:
        return False
    return True


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., str]]:
    with ExitStack() as stack:
        yield lambda *routes, **more: stack.enter_context(haproxy(tmp_path, *routes, **more))


@pytest.mark.parametrize("routes", [(), ("/push",), ("/search",)])
def test_while_an_application_has_no_route_the_answer_is_to_try_again(
    run: Callable[..., str], routes: tuple[str, ...]
) -> None:
    url = run(*routes)
    missing = next(route for route in ("/push", "/search") if route not in routes)
    answer = httpx.post(f"{url}{missing}/v1/events", json=[])
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == 503
    for route in routes:
        assert httpx.get(f"{url}{route}/healthz").status_code == 200


def test_with_both_routes_an_unknown_path_is_not_found(run: Callable[..., str]) -> None:
    url = run("/push", "/search")
    assert httpx.get(f"{url}/push/healthz").status_code == 200
    assert httpx.get(f"{url}/elsewhere").status_code == 404


@pytest.mark.parametrize(
    ("sent", "path"),
    [
        ("/v1/logs", "/push/otlp/v1/logs"),
        ("/v1/traces?a=%20b", "/push/otlp/v1/traces?a=%20b"),
        ("/otlp/v1/logs?a=b", "/push/otlp/v1/logs?a=b"),
        ("/elasticsearch", "/push/elasticsearch"),
        ("/elasticsearch/", "/push/elasticsearch/"),
        ("/elasticsearch/web/_bulk?a=b", "/push/elasticsearch/web/_bulk?a=b"),
        ("/loki/api/v1/push", "/push/loki/api/v1/push"),
        ("/api/prom/push", "/push/api/prom/push"),
        ("/ready", "/push/ready"),
        ("/services/collector/event/1.0?channel=c", "/push/services/collector/event/1.0?channel=c"),
        ("/push/v1/events", "/push/v1/events"),
        ("/push/otlp/v1/logs", "/push/otlp/v1/logs"),
        ("/search/v1/queries", "/search/v1/queries"),
    ],
)
def test_paths_that_protocols_fix_reach_push(run: Callable[..., str], sent: str, path: str) -> None:
    answer = httpx.post(run("/push", "/search") + sent)
    assert (answer.status_code, answer.text) == (200, path)


@pytest.mark.parametrize("routes", [("/push", "/search"), ("/search",)])
def test_elasticsearchs_clients_are_told_its_name_whoever_answers(
    run: Callable[..., str], routes: tuple[str, ...]
) -> None:
    url = run(*routes)
    for path in ("/elasticsearch", "/elasticsearch/_bulk", "/push/elasticsearch/_license"):
        answer = httpx.post(f"{url}{path}")
        assert answer.status_code == (200 if "/push" in routes else 503)
        assert answer.headers["x-elastic-product"] == "Elasticsearch"
    for path in ("/push/v1/events", "/elasticsearches", "/"):
        assert "x-elastic-product" not in httpx.get(f"{url}{path}").headers


def test_while_push_has_no_route_such_paths_are_to_be_tried_again(run: Callable[..., str]) -> None:
    url = run("/search")
    for path in (
        *("/v1/logs", "/otlp/v1/logs", "/elasticsearch", "/elasticsearch/_bulk"),
        *("/loki/api/v1/push", "/ready", "/services/collector"),
    ):
        answer = httpx.post(f"{url}{path}")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_a_replica_that_stands_still_is_told_as_unavailable_and_soon(run: Callable[..., str], tmp_path: Path) -> None:
    """The kernel takes the connection; nothing reads from it, as from a process that was stopped."""
    (tmp_path / "500.http").write_text("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        behind = [
            "frontend other",
            f"    bind 127.0.0.1:{(port := free_port())}",
            "    default_backend http-push",
            "backend http-push",
            "    timeout server 60s",
            *(f"    errorfile {status} {tmp_path}/500.http" for status in (502, 503, 504)),
            f"    server replica 127.0.0.1:{silent.getsockname()[1]}",
        ]
        run("/push", "/search", behind=behind)
        answer = httpx.get(f"http://127.0.0.1:{port}/push/healthz", timeout=30)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["status"] == 503


def test_a_replica_that_is_gone_is_told_as_unavailable(run: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "500.http").write_text("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
    behind = [
        "frontend other",
        f"    bind 127.0.0.1:{(port := free_port())}",
        "    default_backend http-push",
        "backend http-push",
        *(f"    errorfile {status} {tmp_path}/500.http" for status in (502, 503, 504)),
        f"    server replica 127.0.0.1:{free_port()}",
    ]
    run("/push", "/search", behind=behind)
    answer = httpx.post(f"http://127.0.0.1:{port}/push/v1/events", json=[], timeout=30)
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"


def test_headers_that_do_not_come_are_not_waited_for(run: Callable[..., str]) -> None:
    port = int(run("/push", "/search", headers_s=1).rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as silent:
        silent.sendall(b"GET /push/healthz HTTP/1.1\r\nHost: ")
        assert silent.recv(1000).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    ("path", "moved"),
    [
        ("", "/push/elasticsearch/"),
        ("/_bulk?refresh=true", "/push/elasticsearch/_bulk?refresh=true"),
        ("/web/_doc/1", "/push/elasticsearch/web/_doc/1"),
        ("/elasticsearch/_bulk", "/push/elasticsearch/_bulk"),
        ("/elasticsearch", "/push/elasticsearch"),
        ("/v1/_bulk", "/push/elasticsearch/v1/_bulk"),
    ],
)
def test_elasticsearchs_own_port_has_its_paths_at_the_root(run: Callable[..., str], path: str, moved: str) -> None:
    port = free_port()
    url = run("/push", "/search", elasticsearch_port=port)
    told = httpx.get(f"http://127.0.0.1:{port}{path}")
    assert (told.status_code, told.text) == (200, moved)
    assert told.headers["x-elastic-product"] == "Elasticsearch"
    assert httpx.get(f"{url}/push/healthz").text == "/push/healthz"
    assert httpx.get(f"{url}/elasticsearch/_bulk").text == "/push/elasticsearch/_bulk"


def test_without_it_there_is_one_port(tmp_path: Path) -> None:
    with haproxy(tmp_path, "/push", "/search"):
        config = (tmp_path / "haproxy.cfg").read_text()
    assert "dst_port" not in config

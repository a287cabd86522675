"""Commands against a real HTTP server that answers as the contract says: what is sent, printed, and the exit codes."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import orjson
import pytest
from click.testing import CliRunner, Result
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ess_ray.cli import main
from ess_ray.cli.checks import Listener
from ess_ray.cli.output import print_counts
from ess_ray.core.event import format_timestamp
from ess_ray.runtime.processes import RunFile, boot_id
from tests.http_server import serving

DEADLINE_S = 30.0


class Contract:
    """Just enough of the HTTP contract: keeps what was pushed, and answers queries with prepared pages."""

    def __init__(self) -> None:
        self.pushed: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.queries: list[dict[str, Any]] = []
        self.cancelled = threading.Event()
        self.polled = threading.Event()
        self.refusals: list[Response] = []
        self.pages: list[dict[str, Any]] = [page("done")]
        self.compacted: list[dict[str, Any]] = []
        self.compactions: list[dict[str, Any]] = []
        self.healthy = True
        self.reasons: list[str] = []
        self.app = Starlette(
            routes=[
                Route("/push/v1/events", self.push, methods=["POST"]),
                Route("/{part}/healthz", self.health),
                Route("/search/v1/queries", self.query, methods=["POST"]),
                Route("/search/v1/queries/q1", self.poll, methods=["GET"]),
                Route("/search/v1/queries/q1", self.cancel, methods=["DELETE"]),
                Route("/search/v1/aggregations", self.query, methods=["POST"]),
                Route("/search/v1/aggregations/q1", self.poll, methods=["GET"]),
                Route("/search/v1/aggregations/q1", self.cancel, methods=["DELETE"]),
                Route("/search/v1/fields", self.fields),
                Route("/search/v1/fields/{name:path}/values", self.fields),
                Route("/search/v1/flush", self.flush, methods=["POST"]),
                Route("/search/v1/compact", self.compact, methods=["POST"]),
                Route("/search/v1/status", self.status),
            ]
        )

    async def push(self, request: Request) -> Response:
        body = await request.body()
        self.keys.append(request.headers["idempotency-key"])
        if self.refusals:
            return self.refusals.pop(0)
        events = [orjson.loads(line) for line in body.splitlines()]
        bad = [i for i, event in enumerate(events) if event["message"] == "bad"]
        if len(bad) == len(events):
            return problem(400, "every event is invalid")
        self.pushed += [event for event in events if event["message"] != "bad"]
        rejected = [{"index": i, "reason": "it is bad"} for i in bad]
        return JSONResponse({"accepted": len(events) - len(bad), "rejected": rejected}, 202)

    async def health(self, request: Request) -> Response:
        return (
            JSONResponse({"status": "ok"}) if self.healthy else problem(503, f"{request.path_params['part']} is down")
        )

    async def query(self, request: Request) -> Response:
        body = await request.json()
        self.queries.append(body)
        if body["query"] == "a AND (b":
            return problem(400, "a closing bracket is missing", position=6)
        if body["start"] == "yesterday":
            return problem(400, "yesterday is no time")
        return JSONResponse({"id": "q1", "state": "running"}, 201)

    async def poll(self, request: Request) -> Response:
        self.polled.set()
        at = int(request.query_params["cursor"].removeprefix("r") or 0)
        return JSONResponse({**self.pages[min(at, len(self.pages) - 1)], "cursor": f"r{at + 1}"})

    async def cancel(self, _: Request) -> Response:
        self.cancelled.set()
        return JSONResponse(page("cancelled"))

    async def fields(self, request: Request) -> Response:
        self.queries.append(dict(request.query_params))
        if request.query_params["query"] == "(":
            return problem(400, "it is never closed", position=0)
        whole = {"rows": 40, "complete": not self.reasons, "incomplete": self.reasons, "elapsed_ms": 1}
        name = request.path_params.get("name")
        if name is not None:
            return JSONResponse({"field": name, "values": [{"value": "a\tb\n", "count": 30}], "distinct": 1, **whole})
        return JSONResponse({"fields": [{"name": "level", "kind": "column", "count": 30}], **whole})

    async def flush(self, _: Request) -> Response:
        return JSONResponse({"rows": 1234, "objects": 2})

    async def compact(self, request: Request) -> Response:
        self.compactions.append(await request.json())
        return JSONResponse(self.compacted.pop(0))

    async def status(self, _: Request) -> Response:
        return JSONResponse({"vnodes": 8, "pool": {"actors": 2, "note": "[bold]x"}})


def problem(status: int, detail: str, **more: Any) -> Response:
    content = {"type": "about:blank", "title": "No", "status": status, "detail": detail, **more}
    return JSONResponse(content, status, media_type="application/problem+json")


def compacted(count: int, more: bool = False, skipped: tuple[dict[str, str], ...] = ()) -> dict[str, Any]:
    merged = {"merged_objects": 3 * count, "new_objects": count, "rows": 30, "bytes_before": 300, "bytes_after": 200}
    expired = {"expired_objects": 1, "expired_rows": 10, "expired_bytes": 100}
    return {**merged, **expired, "skipped": skipped, "more": more, "before_us": 77}


def page(state: str, *messages: str, incomplete: tuple[str, ...] = (), complete: bool | None = None) -> dict[str, Any]:
    events = [
        {"timestamp": "2026-11-24T10:00:00.000000Z", "level": "ERROR", "severity_number": 17, "service": "s"}
        | {"host": None, "message": message, "attributes": {"region": "eu"}}
        for message in messages
    ]
    done = not incomplete if complete is None else complete
    told = {"objects_total": 2, "objects_done": 1, "objects_pruned": 0, "rows_matched": len(messages)}
    return {"id": "q1", "state": state, "events": events, "progress": told, "complete": done, "incomplete": incomplete}


@pytest.fixture
def contract() -> Iterator[tuple[Contract, str]]:
    """A server on a free loopback port, and its address."""
    contract = Contract()
    with serving(contract.app) as url:
        yield contract, url


@pytest.fixture
def server(contract: tuple[Contract, str]) -> Contract:
    return contract[0]


@pytest.fixture
def data_dir(contract: tuple[Contract, str], tmp_path: Path) -> Path:
    """A data directory whose system is the server."""
    folder = tmp_path / "data"
    folder.mkdir()
    RunFile(os.getsid(0), 0.0, contract[1], 1, "", "", boot_id()).write(folder)
    return folder


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("ESS_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


Ess = Callable[..., Result]


@pytest.fixture
def ess(data_dir: Path) -> Ess:
    def run(*arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(main, [*arguments, "--data-dir", str(data_dir)], input=stdin, catch_exceptions=False)

    return run


# ------------------------------------------------------------------------------------------------------- where
def test_the_run_file_of_a_named_folder_comes_before_the_environment(
    ess: Ess, server: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ESS_URL", "http://127.0.0.1:9")
    assert ess("flush").exit_code == 0


def test_the_address_may_come_from_an_option_or_a_variable(
    contract: tuple[Contract, str], data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = CliRunner()
    assert runner.invoke(main, ["flush", "--url", contract[1]]).exit_code == 0
    monkeypatch.setenv("ESS_URL", contract[1])
    assert runner.invoke(main, ["flush"]).exit_code == 0
    monkeypatch.delenv("ESS_URL")
    monkeypatch.setenv("ESS_DATA_DIR", str(data_dir))
    assert runner.invoke(main, ["flush"]).exit_code == 0


def test_a_folder_where_nothing_was_started_never_leads_to_another_system(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["flush", "--data-dir", str(tmp_path / "none")])
    assert done.exit_code == 1
    assert "ess up --data-dir" in done.stderr


def test_nobody_there_is_said_with_the_address() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        done = CliRunner().invoke(main, ["status", "--url", url])
    assert done.exit_code == 1
    assert url in done.stderr


def test_a_wrong_setting_is_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESS_LGO__VNODES", "1")
    done = CliRunner().invoke(main, ["status"])
    assert done.exit_code == 2
    assert "ESS_LOG__VNODES" in done.stderr


# -------------------------------------------------------------------------------------------------------- push
def test_push_sends_lines_and_prints_how_to_find_them(ess: Ess, server: Contract, tmp_path: Path) -> None:
    file = tmp_path / "app.log"
    file.write_text("".join(f"2026-11-24T10:00:{i % 60:02d}Z line {i}\n" for i in range(2500)))
    done = ess("push", str(file), "--service", "my app")
    assert done.exit_code == 0
    assert sorted(e["message"][21:] for e in server.pushed) == sorted(f"line {i}" for i in range(2500))
    assert len(set(server.keys)) == 3
    assert "2,500 accepted, 0 rejected" in done.stdout
    assert "from 2026-11-24T10:00:00.000000Z to 2026-11-24T10:00:59.000000Z" in done.stdout
    assert re.search(r"""ess search 'service:"my app"' --since 2026-\S+ --until 2026-\S+:59\.000001Z""", done.stdout)


def test_the_same_file_gives_the_same_keys_and_standard_input_does_not(
    ess: Ess, server: Contract, tmp_path: Path
) -> None:
    file = tmp_path / "events.ndjson"
    file.write_text('{"message":"a"}\n')
    for _ in range(2):
        assert ess("push", str(file)).exit_code == 0
        assert ess("push", "-", stdin='{"message":"a"}\n').exit_code == 0
    assert server.keys[0] == server.keys[2]
    assert len(set(server.keys)) == 3
    assert all(len(key.encode()) <= 100 for key in server.keys)


def test_a_refused_batch_is_sent_again_under_its_key(ess: Ess, server: Contract) -> None:
    server.refusals = [JSONResponse({"detail": "busy"}, code, headers={"Retry-After": "0"}) for code in (503, 429, 500)]
    done = ess("push", "-", "--json", stdin="a line\n")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["accepted"] == 1
    assert len(server.keys) == 4
    assert len(set(server.keys)) == 1


def test_rejected_events_are_named_by_their_line(ess: Ess, server: Contract) -> None:
    lines = ['{"message":"a"}', "", '{"message":"bad"}', "no json", '{"message":"b"}']
    done = ess("push", "-", "--json", stdin="\n".join(lines))
    told = json.loads(done.stdout)
    assert done.exit_code == 1
    assert (told["accepted"], told["rejected"]) == (2, 2)
    assert sorted(one["position"] for one in told["rejections"]) == [3, 4]
    done = ess("push", "-", stdin='{"message":"bad"}')
    assert done.exit_code == 1
    assert "every event is invalid" in done.stderr


def test_a_refusal_that_will_not_change_ends_the_push(ess: Ess, server: Contract) -> None:
    server.refusals = [problem(415, "no such encoding")]
    done = ess("push", "-", stdin="a line\n")
    assert done.exit_code == 1
    assert "no such encoding" in done.stderr
    assert "0 accepted" in done.stdout


def test_what_was_acknowledged_before_a_failure_is_told(ess: Ess, server: Contract, tmp_path: Path) -> None:
    whole = gzip.compress(b"".join(b"%d %s\n" % (i, os.urandom(40).hex().encode()) for i in range(5000)))
    file = tmp_path / "cut.log.gz"
    file.write_bytes(whole[: len(whole) * 3 // 4])
    done = ess("push", str(file), "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["accepted"] == len(server.pushed) > 0
    assert "cut.log.gz cannot be read to its end" in done.stderr


def test_an_empty_input_is_done(ess: Ess, server: Contract) -> None:
    done = ess("push", "-", "--json", stdin="")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["accepted"] == 0
    assert not server.keys


@pytest.mark.parametrize("arguments", [["push"], ["push", "no-such-file"], ["push", "-", "--format", "csv"], ["fly"]])
def test_wrong_usage_is_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(main, arguments).exit_code == 2


def test_a_form_that_is_not_there_is_2(ess: Ess) -> None:
    assert ess("push", "-", "--format", "json", stdin="no json").exit_code == 2


# ------------------------------------------------------------------------------------------------------ search
def test_search_prints_rows_as_they_come(ess: Ess, server: Contract) -> None:
    server.pages = [page("running"), page("running", "one"), page("done", "two\x1b[31m"), page("done")]
    done = ess(
        "search",
        "error",
        "--since",
        "15m",
        "--until",
        "2026-11-24T10:00:00Z",
        "--limit",
        "7",
        "--order",
        "oldest",
        "--executor",
        "auto",
    )
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "2026-11-24T10:00:00.000000Z ERROR s one region=eu",
        "2026-11-24T10:00:00.000000Z ERROR s two\x1b[31m region=eu",
    ]
    assert server.queries == [
        {"query": "error", "start": "-15m", "end": "2026-11-24T10:00:00Z", "limit": 7}
        | {"order": "oldest", "executor": "auto"}
    ]


def test_search_json_is_one_event_a_line_whatever_it_holds(ess: Ess, server: Contract) -> None:
    message = "a\nb\u2028c\x85d\x0be \x00"
    server.pages = [page("done", message), page("done")]
    done = ess("search", "--since", "all", "--json")
    assert [json.loads(line)["message"] for line in done.stdout.splitlines()] == [message]
    assert server.queries[0]["start"] == 0
    assert "end" not in server.queries[0]


@pytest.mark.parametrize(
    ("last", "code", "said"),
    [
        (page("done", incomplete=("virtual node 3 has no owner",)), 3, "virtual node 3 has no owner"),
        (page("truncated", complete=True), 3, "cap"),
        (page("cancelled", complete=False), 3, "cancelled"),
        (page("done", complete=False), 3, "complete"),
        (page("failed", incomplete=("the store is gone",)), 1, "the store is gone"),
    ],
)
def test_an_answer_that_is_not_whole_says_so(
    ess: Ess, server: Contract, last: dict[str, Any], code: int, said: str
) -> None:
    server.pages = [page("running", "kept"), last]
    done = ess("search", "x", "--json")
    assert done.exit_code == code
    assert said in done.stderr
    assert "kept" in done.stdout


def test_a_wrong_query_is_pointed_at(ess: Ess) -> None:
    done = ess("search", "a AND (b")
    assert done.exit_code == 2
    lines = done.stderr.splitlines()
    assert lines[0] == "Error: a closing bracket is missing"
    assert lines[1][lines[2].index("^")] == "("


def test_a_wrong_time_is_2(ess: Ess) -> None:
    done = ess("search", "a", "--since", "yesterday")
    assert done.exit_code == 2
    assert "yesterday is no time" in done.stderr


def _start(data_dir: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "ess_ray.cli", *arguments, "--data-dir", str(data_dir)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)


def test_an_interruption_cancels_the_query(server: Contract, data_dir: Path) -> None:
    server.pages = [page("running")]
    process = _start(data_dir, "search", "x", "--json")
    assert server.polled.wait(DEADLINE_S)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 3, errors
    assert server.cancelled.is_set()


def test_a_reader_that_leaves_cancels_the_query(server: Contract, data_dir: Path) -> None:
    server.pages = [page("running", "x" * 100_000)]
    process = _start(data_dir, "search", "x", "--json")
    assert process.stdout is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.wait(DEADLINE_S) == 0
    assert server.cancelled.is_set()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()


# ------------------------------------------------------------------------------------------------------- counts
def counted(state: str, *buckets: dict[str, Any], interval_s: int | None = 60) -> dict[str, Any]:
    return {**page(state), "buckets": list(buckets), "interval_s": interval_s}


def bucket(start: str | None, count: int, other: bool = False, **by: str | None) -> dict[str, Any]:
    return {"start": start, "by": by, **({"other": True} if other else {}), "count": count}


def test_count_prints_what_was_counted_at_the_end(ess: Ess, server: Contract) -> None:
    one, two = bucket("10:00", 7, level="ERROR", host=None), bucket("10:00", 2, True, level=None, host=None)
    server.pages = [counted("running", one), counted("done", one, two)]
    options = ["--by", "level", "--by", "host", "--interval", "1m", "--top", "1", "--since", "2h", "--executor", "ray"]
    done = ess("count", "x", *options)
    assert done.exit_code == 0
    assert done.stdout.splitlines() == ["10:00\tERROR\t-\t7", "10:00\tother\tother\t2"]
    body = {"query": "x", "start": "-2h", "interval": "1m", "by": ["level", "host"], "top": 1, "executor": "ray"}
    assert server.queries == [body]
    done = ess("count", "--json")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [one, two]
    server.pages = [counted("done", bucket(None, 9), interval_s=None)]
    assert ess("count").stdout == "9\n"


@pytest.mark.parametrize(
    ("last", "code"),
    [({"complete": False, "incomplete": ["an object is gone"]}, 3), ({"state": "failed", "complete": False}, 1)],
)
def test_a_count_that_is_not_whole_says_so(ess: Ess, server: Contract, last: dict[str, Any], code: int) -> None:
    server.pages = [{**counted("done", bucket(None, 9), interval_s=None), **last}]
    done = ess("count", "x")
    assert (done.exit_code, done.stdout) == (code, "9\n")
    assert "incomplete: " in done.stderr
    assert ess("count", "a AND (b").exit_code == 2


def test_fields_and_values(ess: Ess, server: Contract) -> None:
    assert ess("fields").stdout == "level\tcolumn\t30\n"
    assert server.queries == [{"query": "", "start": "-1h"}]
    assert ess("fields", "k8s.io/pod ü", "--query", "x", "--prefix", "a", "--until", "1m").stdout == "a\\tb\\n\t30\n"
    assert server.queries[1] == {"query": "x", "start": "-1h", "end": "-1m", "top": "10", "prefix": "a"}
    assert json.loads(ess("fields", "k8s.io/pod ü", "--json").stdout)["field"] == "k8s.io/pod ü"
    server.reasons = ["there is more"]
    assert ess("fields").exit_code == 3
    assert ess("fields", "--query", "(").exit_code == 2
    assert ess("fields", "--prefix", "a").exit_code == 2


def test_a_terminal_gets_a_table_that_values_cannot_drive(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    print_counts(["[bold]field"], [(["a\x1b[31m[red]"], 1200), (["b" * 500], 600)])
    shown = click.unstyle(capsys.readouterr().out)
    assert "[bold]field" in shown
    assert "a\\x1b[31m[red]" in shown
    assert "1,200" in shown
    assert max(len(line) for line in shown.splitlines()) <= 80


# ------------------------------------------------------------------------------------------------------- others
def test_status_and_flush(ess: Ess, server: Contract) -> None:
    assert json.loads(ess("flush", "--json").stdout) == {"rows": 1234, "objects": 2}
    assert ess("flush").stdout == "rows 1,234, objects 2\n"
    told = json.loads(ess("status", "--json").stdout)
    assert (told["healthy"], told["vnodes"]) == (True, 8)
    assert "[bold]x" in ess("status").stdout
    server.healthy = False
    done = ess("status")
    assert done.exit_code == 1
    assert "search is down" in done.stderr


def test_generate_pushes_or_writes(ess: Ess, server: Contract, tmp_path: Path) -> None:
    end = format_timestamp(1_790_000_000_000_000)
    done = ess("generate", "--events", "2500", "--seed", "3", "--end", end, "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["accepted"] == len(server.pushed) == 2500
    file = tmp_path / "out.ndjson"
    assert ess("generate", "--events", "2500", "--seed", "3", "--end", end, "--output", str(file)).exit_code == 0
    written = [orjson.loads(line) for line in file.read_bytes().splitlines()]
    assert sorted(map(repr, written)) == sorted(map(repr, server.pushed))


def test_generate_keeps_a_rate(ess: Ess, server: Contract) -> None:
    started_s = time.monotonic()
    assert ess("generate", "--events", "60", "--rate", "100").exit_code == 0
    assert time.monotonic() - started_s > 0.4
    assert len(server.keys) == 6


def test_doctor_names_what_is_not_on_loopback(ess: Ess, server: Contract) -> None:
    with socket.socket() as outside:
        outside.bind(("0.0.0.0", 0))
        outside.listen()
        found = {(c["check"], c["found"]): c["state"] for c in json.loads(ess("doctor", "--json").stdout)}
        port = outside.getsockname()[1]
        assert [state for (name, text), state in found.items() if name == "open port" and f":{port} " in text] == [
            "warning"
        ]
    checks = {name: state for (name, _), state in found.items()}
    assert (checks["python"], checks["push"], checks["search"]) == ("ok", "ok", "ok")
    server.healthy = False
    assert ess("doctor").exit_code == 1


_INSIDE = ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1"]
_OUTSIDE = ["::ffff:10.0.0.1", "0.0.0.0", "::", "fe80::1%eth0"]


@pytest.mark.parametrize("address", [*_INSIDE, *_OUTSIDE])
def test_loopback_is_recognised_in_all_its_forms(address: str) -> None:
    assert Listener(address, 1, 1, "").on_loopback is (address in _INSIDE)


def test_every_command_explains_itself() -> None:
    groups = {name: command for name, command in main.commands.items() if isinstance(command, click.Group)}
    paths = [[name] for name in main.commands.keys() - groups.keys()]
    paths += [[name, inner] for name, group in groups.items() for inner in group.commands]
    for path in paths:
        done = CliRunner().invoke(main, [*path, "--help"])
        assert done.exit_code == 0
        assert "--data-dir" in done.stdout
        assert "--url" in done.stdout


# ------------------------------------------------------------------------------------------------------------ compact
def test_compact_goes_on_until_all_is_merged_up_to_one_moment(ess: Ess, server: Contract) -> None:
    server.compacted = [compacted(2, more=True), compacted(1)]
    done = ess("compact", "--json")
    assert done.exit_code == 0
    told = orjson.loads(done.stdout)
    assert (told["merged_objects"], told["new_objects"], told["expired_rows"], told["more"]) == (9, 3, 20, False)
    assert server.compactions == [{}, {"before_us": 77}]


def test_compact_tells_what_it_did(ess: Ess, server: Contract) -> None:
    server.compacted = [compacted(1)]
    done = ess("compact")
    assert "3 objects became 1 (30 events, 300 bytes became 200)" in done.stdout
    assert "1 objects (10 events) were too old" in done.stdout


def test_compact_fails_when_something_was_left_and_does_not_turn_for_ever(ess: Ess, server: Contract) -> None:
    server.compacted = [compacted(0, more=True, skipped=({"partition": "default/x/01", "reason": "it is gone"},))]
    done = ess("compact")
    assert done.exit_code == 1
    assert "default/x/01 was left as it is: it is gone" in done.stderr

"""`ess sql`: DuckDB over what a system answers, cut to what a statement asks for."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from click.testing import CliRunner, Result

from ess_ray.cli import main
from ess_ray.cli.sql_events import times_of
from ess_ray.core.event import TIMESTAMP
from tests.clients import exchanged
from tests.exports import World, app_of

Tables = Callable[..., pa.Table]
Sql = Callable[..., Result]
HOUR_US = 3_600_000_000


@pytest.fixture
def world(make_events: Tables, t0_us: int) -> World:
    """Three objects, an hour apart, and rows in flight."""
    made = [
        make_events(
            [t0_us + hour * HOUR_US + n for n in range(10)],
            first=hour * 10,
            level=["ERROR" if n % 2 else "INFO" for n in range(10)],
            attributes=[[("ms", str(n)), ("who", "é")] for n in range(10)],
            attribute_types=["ns"] * 10,
        )
        for hour in range(4)
    ]
    return World(made[:3], made[3])


@pytest.fixture
def sql(world: World) -> Iterator[Sql]:
    with exchanged() as (url, inside):
        inside.app = app_of(world)

        def run(*arguments: str) -> Result:
            return CliRunner().invoke(main, ["sql", *arguments, "--url", url], catch_exceptions=False)

        yield run


def rows(result: Result) -> list[dict[str, object]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_statement_sees_what_is_stored_and_in_flight(sql: Sql) -> None:
    statement = (
        "SELECT level, count(*) AS n, sum(attribute_numbers['ms']) AS ms FROM events GROUP BY ALL ORDER BY level"
    )
    expected = [{"level": "ERROR", "n": 20, "ms": 100}, {"level": "INFO", "n": 20, "ms": 80}]
    assert rows(sql(statement, "--json")) == expected
    assert sql(statement, "--format", "csv").stdout.splitlines() == ["level,n,ms", "ERROR,20,100.0", "INFO,20,80.0"]
    assert sql(statement).stdout.splitlines() == ["ERROR\t20\t100", "INFO\t20\t80"]
    assert rows(sql("SELECT count(*) AS n FROM events", "--json")) == [{"n": 40}]


def test_times_are_pruned_by_the_system(sql: Sql, world: World, t0_us: int) -> None:
    statement = f"SELECT count(*) AS n FROM events WHERE timestamp < make_timestamptz({t0_us + HOUR_US})"
    assert rows(sql(statement, "--json")) == [{"n": 10}]
    assert {entry.key for task in world.counted.tasks for entry in task.entries} == {world.entries[0].key}


def test_a_query_finds_first(sql: Sql) -> None:
    statement = "SELECT message, attributes FROM events ORDER BY message LIMIT 1"
    found = rows(sql(statement, "--query", "level:ERROR ms:9", "--json"))
    assert found == [{"message": "message 9", "attributes": {"ms": "9", "who": "é"}}]


def test_events_read_twice_are_the_same_ones(sql: Sql, world: World) -> None:
    statement = 'SELECT count(*) AS n FROM events a JOIN events b ON a."offset" = b."offset"'
    assert rows(sql(statement, "--json")) == [{"n": 40}]


def test_nothing_but_events_is_read_and_nothing_is_changed(sql: Sql) -> None:
    for statement in (
        "SELECT * FROM read_csv('/etc/passwd')",
        "COPY events TO '/tmp/x.csv'",
        "CREATE TABLE t AS SELECT 1",
        "SELECT 1; SELECT 2",
        "SET threads = 1",
        "SELEC 1",
        "SELECT nothing FROM events",
        "SELECT * FROM client",
    ):
        result = sql(statement)
        assert result.exit_code == 2, (statement, result.output)
        assert "Traceback" not in result.output
    assert sql("SELECT 1", "--format", "xml").exit_code == 2
    assert sql("EXPLAIN SELECT 1").exit_code == 0


def test_an_incomplete_answer_says_so(sql: Sql, world: World) -> None:
    world.store.delete(world.entries[0].key)
    result = sql("SELECT count(*) AS n FROM events", "--json")
    assert (result.exit_code, result.stdout) == (3, '{"n":30}\n')
    assert "incomplete: object tenant=default" in result.stderr


def test_a_system_that_is_away_is_told(sql: Sql) -> None:
    result = CliRunner().invoke(main, ["sql", "SELECT count(*) FROM events", "--url", "http://127.0.0.1:9"])
    assert (result.exit_code, "nothing answers at" in result.stderr) == (1, True), result.output


def test_without_duckdb_it_says_how_to_get_it(sql: Sql, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    result = sql("SELECT 1")
    assert (result.exit_code, "pip install 'ess_ray[sql]'" in result.stderr) == (1, True)


def test_times_of_a_filter_are_exact_bounds() -> None:
    at = pc.field("timestamp")

    def us(value: int) -> pa.Scalar:
        return pa.scalar(value, TIMESTAMP)

    assert times_of((at >= us(1_000)) & (at < us(5_000)) & (pc.field("level") == "A")) == (1_000, 4_999)
    assert times_of((at == us(7)) | (at == us(9))) == (7, 9)
    first, last = times_of(pc.field("level") == "A")
    assert first == 0
    assert last > us(2**47).value

"""The comparison's own parts: the corpus, the oracle, our side. What measures a wrong answer measures nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson
import pyarrow as pa
import pytest

from ess_ray.core.event import to_json_rows
from tests.benchmarks import balance, over_s3, planning
from tests.benchmarks import corpus as corpora
from tests.benchmarks.corpus import Corpus
from tests.benchmarks.report import grid
from tests.benchmarks.rivals.ours import Ours
from tests.benchmarks.rivals.shapes import Shape, oracle, shapes
from tests.proxy import Seen

COUNT = 20_000


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return corpora.make(tmp_path_factory.mktemp("bench") / "corpus", COUNT)


@pytest.fixture(scope="module")
def ours(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ours]:
    side = Ours(tmp_path_factory.mktemp("ours"), "lz4")
    size, note = side.load(corpus)
    magic_bytes = 4 * int(side.extra()["objects"])
    assert size == sum(side.parts().values()) + magic_bytes
    assert note.startswith("2 objects")
    yield side
    side.close()


def test_both_forms_of_the_corpus_hold_the_same_events(corpus: Corpus) -> None:
    rows = to_json_rows(pa.concat_tables(corpus.tables()))
    lines = [orjson.loads(line) for path in corpus.ndjson for line in path.read_bytes().splitlines()]
    assert len(rows) == len(lines) == COUNT
    for row, line in zip(rows, lines, strict=True):
        assert {name: row[name] for name in line if name != "attributes"} == {
            name: value for name, value in line.items() if name != "attributes"
        }
        assert row["attributes"].keys() == line["attributes"].keys()
    assert len({(row["vnode"], row["offset"], row["row"]) for row in rows}) == COUNT
    assert len({row["timestamp"] for row in rows}) == COUNT, "sides are compared by their rows' times"


def test_the_corpus_depends_on_its_seed_alone(corpus: Corpus, tmp_path: Path) -> None:
    again = corpora.make(tmp_path / "again", COUNT)
    assert pa.concat_tables(again.tables()).equals(pa.concat_tables(corpus.tables()))


def test_our_side_gives_what_the_oracle_says(corpus: Corpus, ours: Ours) -> None:
    asked = shapes(corpus)
    assert len({shape.name for shape in asked}) == len(asked)
    for shape in asked:
        truth = oracle(corpus, shape)
        assert ours.query(shape).times_us == truth, shape
        for _ in range(2):
            found = ours.check(shape)
            assert found.times_us == truth, shape
            assert found.requests > 0, "a process that knows nothing must read"


def test_needles_are_rare_and_common_terms_are_common(corpus: Corpus) -> None:
    hits = {shape.name: len(oracle(corpus, shape)) for shape in shapes(corpus)}
    assert 1 <= hits["token"] <= 3
    assert 1 <= hits["substring"] <= 3
    assert 1 <= hits["fold"] <= 3
    assert hits["trace"] >= 1
    assert hits["common"] == 100
    assert hits["scan"] == hits["scan-regex"] == hits["nowhere"] == 0


def test_the_oracle_is_no_searcher_of_ours(corpus: Corpus) -> None:
    shape = Shape("mine", "", "reset by", equals=(("level", "ERROR"),), start_us=corpora.END_US - corpora.HOUR_US)
    rows = to_json_rows(pa.concat_tables(corpus.tables()))
    times = pa.concat_tables(corpus.tables()).column("timestamp").cast(pa.int64()).to_pylist()
    expected = [
        us
        for us, row in zip(times, rows, strict=True)
        if "reset by" in row["message"] and row["level"] == "ERROR" and us >= corpora.END_US - corpora.HOUR_US
    ]
    assert expected
    assert oracle(corpus, shape) == expected[::-1]


def test_planning_is_measured_without_a_scan(tmp_path: Path) -> None:
    rows = planning.measure(tmp_path / "table", 1_500, 1)
    assert [row.what.split(":")[0] for row in rows[:-1]] == ["cold", "warm", "warm", "warm"]


def test_a_spread_is_of_what_was_done_between_two_looks() -> None:
    assert balance.spread({"a": 1000, "b": 0}, {"a": 1030, "b": 10, "c": 20}) == 1.5
    assert balance.spread({}, {"a": 5, "b": 5}) == 1


def test_nine_events_in_ten_of_the_pools_load_are_one_services() -> None:
    made = [event["service"] for body in balance.bodies() for event in orjson.loads(body)]
    assert 0.9 <= made.count("hot") / len(made) < 0.91
    assert len(made) == balance.BATCH * balance.BODIES


def test_a_table_keeps_its_columns_whatever_its_cells_hold() -> None:
    lines = grid("Title", ("a", "b"), [("x|y", "1")]).splitlines()
    assert lines[-1] == r"| x\|y | 1 |"


def test_a_request_is_as_long_as_its_range_says() -> None:
    def length(method: str, range_: str) -> int:
        return over_s3.length_of(Seen(method, "/b/k", range_), 1_000)

    asked = ("bytes=0-99", "bytes=900-1999", "bytes=-300", "bytes=-3000", "")
    assert [length("GET", range_) for range_ in asked] == [100, 100, 300, 1_000, 1_000]
    assert length("HEAD", "") == 0

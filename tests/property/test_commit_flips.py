"""One flipped bit of a commit of the table: a reader refuses it, or reads what was written; never something else.

Another time would hide an object from searches, another offset would have events skipped that are in the log alone.
"""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from ess_ray.adapters.delta_catalog import DeltaCatalog
from ess_ray.adapters.delta_files import LogFiles
from ess_ray.adapters.delta_snapshot import SUM, ForeignCommit, read_commit, read_transactions
from ess_ray.core.errors import CorruptData
from ess_ray.ports import Advance, ObjectEntry, vnode_advances
from ess_ray.table.replacing import count_up
from tests.damages import flipped
from tests.examples import examples

HOUR = "tenant=default/date=2026-09-21/hour=14"
KEY = f"{HOUR}/1790000000000000-1790000000000009-{{}}-f17707-x2478-c22fc02a5.parquet"


def entry(number: int) -> ObjectEntry:
    key = KEY.format(f"{number:032x}")
    times = (1_790_000_000_000_000, 1_790_000_000_000_009)
    return ObjectEntry(key, 20_000 + number, "default", "2026-09-21", 14, 10, *times, 1_790_000_100_000_123)


def commits(folder: Path) -> list[bytes]:
    """Give commits as the catalog writes them: of a writer's, with two objects, and a merge of these."""
    writer = DeltaCatalog(folder).writer()
    writer.commit([entry(1), entry(2)], [], vnode_advances("log", {0: Advance(0, 17), 5: Advance(0, 3)}))
    view = writer.view()
    writer.commit([entry(3)], [entry(1), entry(2)], count_up(view, 3))
    files = LogFiles(folder)
    return [data for version in (1, 2) if (data := files.read(version)) is not None]


def test_every_flip_is_seen_or_changes_nothing(tmp_path: Path) -> None:
    made = commits(tmp_path)
    assert [len(read_commit(data).adds) for data in made] == [2, 1]

    @settings(max_examples=examples(4_000))
    @given(st.sampled_from(made), st.data())
    def check(data: bytes, draw: st.DataObject) -> None:
        assert SUM.encode() in data
        damaged = flipped(data, draw.draw(st.integers(0, 8 * len(data) - 1)))
        before = read_commit(data)
        try:
            assert read_commit(damaged) == before
            assert read_transactions(damaged) == before.transactions
        except (CorruptData, ForeignCommit):
            pass

    check()

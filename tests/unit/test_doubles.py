"""`ess_ray.table.doubles`: exactly the objects that share an identity are suspected, whatever the number of files."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pyarrow as pa
import pytest

from ess_ray.core.chunk.identity import IDENTITY, IDENTITY_SCHEMA
from ess_ray.table.doubles import Doubles

Identity = tuple[str, int, int, int]


def pairs_of(objects: list[list[Identity]], rows: int, **limits: int) -> list[tuple[int, int]]:
    with Doubles(rows, **limits) as found:
        for number, rows_of in enumerate(objects):
            columns = list(zip(*rows_of, strict=True)) or [()] * len(IDENTITY)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, IDENTITY_SCHEMA, strict=True)]
            found.add(number, pa.Table.from_arrays(arrays, schema=IDENTITY_SCHEMA))
        return list(found.pairs())


def drawn(random: Random) -> list[list[Identity]]:
    values = [
        (log, vnode, offset, row) for log in "ab" for vnode in range(2) for offset in range(3) for row in range(2)
    ]
    return [random.choices(values, k=random.randrange(6)) for _ in range(random.randrange(6))]


@pytest.mark.parametrize("seed", range(50))
def test_as_a_dictionary_would_say(seed: int) -> None:
    random = Random(seed)
    objects = drawn(random)
    holders: dict[Identity, list[int]] = {}
    for number, rows_of in enumerate(objects):
        for one in sorted(set(rows_of)):
            holders.setdefault(one, []).append(number)
    found = pairs_of(objects, random.randrange(40), rows_per_file=3)
    assert len(found) == len(set(found))
    assert set(found) == {pair for numbers in holders.values() for pair in pairwise(numbers)}


def test_many_files_share_the_rows() -> None:
    limits = {"rows_per_file": 10, "max_files": 7}
    rows: list[Identity] = [("log", vnode, offset, 0) for vnode in range(8) for offset in range(100)]
    assert pairs_of([rows[:400], rows[400:]], len(rows), **limits) == []
    assert pairs_of([rows[:401], rows[400:]], len(rows), **limits) == [(0, 1)]

"""What is to be reached, beside what was measured, as far as the comparison tells it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.benchmarks.report import grid
from tests.benchmarks.rivals.measure import CLICKHOUSE, INDEXED, LZ4, TANTIVY, ZSTD, Results

SCANS: Final = ("scan", "scan-regex")
NEEDLES: Final = ("trace", "token", "substring", "fold")
NEWEST: Final = ("common", "uncommon")

Line = tuple[str, str, str, str]


def targets(results: Results) -> str:
    """Write the table of targets as Markdown."""
    return grid("Targets", ("what", "to reach", "measured", "reached"), list(_lines(results)), level=3)


def _lines(results: Results) -> Iterator[Line]:
    yield _at_most(
        "stored bytes, index included, to ClickHouse's without indexes",
        results.stored[ZSTD].bytes / results.stored[CLICKHOUSE].bytes,
        1.0,
    )
    decompression_s = results.extra[ZSTD]["decompression_s"]
    for shape in SCANS:
        scan_s, theirs_s = results.cpu_s(ZSTD, shape), results.cpu_s(CLICKHOUSE, shape)
        yield _at_most(f"{shape}: CPU to ClickHouse's", scan_s / theirs_s, 1.0)
        yield _at_most(f"{shape}: CPU to zstd decompression alone", scan_s / decompression_s, 1.25)
        yield _at_most(f"{shape} over lz4: CPU to ClickHouse's", results.cpu_s(LZ4, shape) / theirs_s, 0.5)
    for shape in NEEDLES:
        needle_s = results.cpu_s(ZSTD, shape)
        yield _at_least(f"{shape}: our full scan's CPU to it", results.cpu_s(ZSTD, "scan") / needle_s, 100)
        yield _at_most(f"{shape}: CPU to ClickHouse's with its indexes", needle_s / results.cpu_s(INDEXED, shape), 1.0)
    for shape in NEWEST:
        share = results.found[ZSTD, shape].bytes_read / results.stored[ZSTD].bytes
        yield f"{shape}: newest 100, bytes read", "at most 1 %", f"{share:.2%}", _yes(share <= 0.01)
    yield from _requests(results)
    touched = results.cpu_s(ZSTD, "scattered")
    beside = f"{touched * 1e3:.0f} ms; ClickHouse with indexes {results.cpu_s(INDEXED, 'scattered') * 1e3:.0f} ms"
    beside += f", tantivy {results.cpu_s(TANTIVY, 'scattered') * 1e3:.0f} ms"
    yield f"scattered: CPU of {results.rows['scattered']} hits", "told", beside, ""


def _requests(results: Results) -> Iterator[Line]:
    objects = int(results.extra[ZSTD]["objects"])
    for shape, most, what in (("nowhere", 1, "ruled out by its index"), ("scan", 3, "scanned")):
        requests = results.found[ZSTD, shape].requests / objects
        yield f"requests for an object {what}", f"at most {most}", f"{requests:.1f}", _yes(requests <= most)


def _at_most(what: str, measured: float, limit: float) -> Line:
    return what, f"at most {limit:g}x", f"{measured:.2f}x", _yes(measured <= limit)


def _at_least(what: str, measured: float, limit: float) -> Line:
    return what, f"at least {limit:g}x", f"{measured:.0f}x", _yes(measured >= limit)


def _yes(reached: bool) -> str:
    return "yes" if reached else "no"

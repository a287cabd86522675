"""The comparison's tables: what is stored, each question, and all questions side by side."""

from __future__ import annotations

from tests.benchmarks.report import grid
from tests.benchmarks.rivals.measure import ZSTD, Results
from tests.benchmarks.rivals.shapes import Shape

INCLUDED = """CPU is user and system time of the side's own process, its threads and its children; wall is what the
caller waits. Every side runs on one thread, over files in the page cache, and brings all fields of the rows that it
finds, in order of time, newest first, at most 1,000 unless said. A query is timed from its text to its rows: parsing,
planning, reading and sorting are in it; ours goes through the `Searcher`, a fresh snapshot of the catalog included.
Short ones are repeated within a round. Caches of a running process are warm (footers, marks), but none that holds
answers. What ours reads, and in how many requests, is counted on a store far away (close ranges are fetched as one), by
a process that remembers nothing. ClickHouse's indexes are a text index of the message and a bloom filter of the trace
id, as OpenTelemetry's exporter makes it. Every answer given here was compared with the oracle's, row by row. A dash:
the engine has no such question (tantivy knows words in their order, not parts of them nor what stands between them, so
it is asked only where that is the same)."""


def report(results: Results) -> str:
    """Write all tables of a comparison as Markdown."""
    count = results.corpus.count
    size = results.corpus.json_bytes() / count, results.corpus.message_bytes() / count
    about = (
        f"{count:,} events from a seed, {size[1]:.0f} B a message, {size[0]:.0f} B as JSON. "
        f"Sides: {'; '.join(f'{name}: {version}' for name, version in results.versions.items())}.\n\n{INCLUDED}\n"
    )
    parts = [f"## Beside other engines\n\n{about}", _stored(results), _columns(results), _summary(results)]
    parts += [_shape(results, shape) for shape in results.shapes]
    return "\n".join(parts)


def _stored(results: Results) -> str:
    count, ours = results.corpus.count, results.stored[ZSTD]
    rows = [
        (
            name,
            f"{stored.bytes / 1e6:.1f} MB",
            f"{stored.bytes / count:.1f} B",
            f"{stored.bytes / ours.bytes:.2f}x",
            f"{stored.cpu_s:.1f} s",
            f"{stored.cpu_s / count * 1e6:.1f} s",
            f"{stored.peak_bytes / 1e6:.0f} MB",
            stored.note,
        )
        for name, stored in results.stored.items()
    ]
    header = ("side", "stored", "an event", "to ours", "CPU to build", "of 1 M events", "peak memory", "")
    text = (
        "Built from the corpus's Parquet files (tantivy and ripgrep: from its NDJSON), reading them included; ours by "
        "flushes and compaction. Ours also holds six columns that the others were not given: `observed_timestamp`, "
        "`severity_number` and an event's identity (`log_id`, `vnode`, `offset`, `row`)."
    )
    return grid("Stored bytes, and the CPU that made them", header, rows, level=3, text=text)


def _columns(results: Results) -> str:
    sides = {name: parts for name, parts in results.parts.items() if parts}
    names = list(dict.fromkeys(name for parts in sides.values() for name in parts))
    names.sort(key=lambda name: -sides[ZSTD].get(name, 0))
    count = results.corpus.count
    rows = [
        (name, *(f"{parts[name] / count:.2f}" if name in parts else "–" for parts in sides.values())) for name in names
    ]
    return grid("Stored bytes an event, by column", ("column", *sides), rows, level=3)


def _summary(results: Results) -> str:
    rows = []
    for shape in results.shapes:
        cells = [f"{shape.name}: {shape.what}", f"{results.rows[shape.name]:,}"]
        for name in results.versions:
            took = results.took.get((name, shape.name))
            cells.append("–" if took is None else _ms(took.cpu_s))
        rows.append(tuple(cells))
    header = ("question", "rows", *results.versions)
    return grid("CPU milliseconds of each question", header, rows, level=3)


def _shape(results: Results, shape: Shape) -> str:
    ours = results.took[ZSTD, shape.name]
    rows = []
    for name in results.versions:
        took, found = results.took.get((name, shape.name)), results.found.get((name, shape.name))
        if took is None or found is None:
            continue
        read = ""
        if found.requests:
            share = found.bytes_read / results.stored[name].bytes
            read = f"{found.bytes_read / 1e6:.2f} MB ({share:.2%}) in {found.requests} requests"
        rows.append(
            (
                name,
                f"{_ms(took.cpu_s)} ms",
                f"{took.cpu_s / ours.cpu_s:.2f}x",
                f"{_ms(took.wall_s)} ms",
                f"{took.wall_s / ours.wall_s:.2f}x",
                read,
            )
        )
    title = f"{shape.name}: {shape.what}"
    window = "" if shape.start_us is None else f", {((shape.end_us or 0) - shape.start_us) // 60_000_000} minutes"
    text = f"`{shape.ours}`{window}, limit {shape.limit}: {results.rows[shape.name]:,} rows."
    return grid(title, ("side", "CPU", "to ours", "wall", "to ours", "read, cold"), rows, level=3, text=text)


def _ms(seconds: float) -> str:
    """Write seconds as milliseconds, with the digits that mean something."""
    ms = seconds * 1e3
    return f"{ms:.0f}" if ms >= 100 else f"{ms:.1f}" if ms >= 10 else f"{ms:.2f}" if ms >= 0.1 else f"{ms:.3f}"

"""What `make chaos` prints and writes: a row a fault."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.benchmarks.report import grid, machine
from tests.chaos.clients import BATCH_EVENTS, KINDS, longest_without_s
from tests.chaos.corpus import LARGE_BYTES, POOL_EVENTS
from tests.chaos.run import SEED, Run
from tests.chaos.world import TENANTS

HEADER: Final = (
    "fault",
    "acknowledged",
    "events/s",
    "found",
    "lost",
    "doubled",
    "altered",
    "answers: complete / incomplete / other",
    "pushes: 202 / 503 / other",
    "202 after s",
    "complete after s",
    "s without 202",
    "s without complete",
    "",
)
TEXT: Final = (
    f"{TENANTS} tenants push with {len(KINDS)} clients each (with a key and with ids, which repeat, or neither), "
    f"{BATCH_EVENTS[0]:,} to {BATCH_EVENTS[1]:,} events a request, one request after the other as fast as it is "
    "answered (where single processes die or stand still, fewer and with rests, so that the machine is there for what "
    "comes back); "
    f"of {POOL_EVENTS:,} events {len(LARGE_BYTES)} have messages of {LARGE_BYTES[0] // 1000} and "
    f"{LARGE_BYTES[1] // 1000} KB. One reader counts all of them, and fetches single requests' events, without pause. "
    "events/s: acknowledged, over the whole row, fault included. Found, lost, doubled, altered: events, once all is "
    "over, in the table and in an export, every value compared. A complete answer must hold all that was acknowledged "
    "before its question was asked. Seconds after: from the fault to the end of the first request that began after "
    "it; from its end for those that last. Seconds without: the longest time between two 202s, and between two "
    "complete answers."
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One row: its cells, and whether it passed."""

    cells: tuple[str, ...]
    passed: bool


def outcome(label: str, run: Run | None, passed: bool) -> Outcome:
    """Sum up a row; `run` None: the system did not even start."""
    verdict = "ok" if passed else "FAILED"
    if run is None:
        return Outcome((label, *[""] * (len(HEADER) - 2), verdict), passed)
    clients, reader = run.clients, run.reader
    ends, told = reader.ends(), clients.statuses(0.0, float("inf"))
    other_ends = sum(count for end, count in ends.items() if end not in ("done", "incomplete"))
    other_told = sum(count for status, count in told.items() if status not in (202, 503))
    until_s = run.ended_s or max((a.ended_s for a in clients.attempts), default=clients.begun_s)
    taken_s = [a.ended_s for a in clients.attempts if a.status == 202]
    complete_s = [a.ended_s for a in reader.asked if a.end == "done"]
    cells = (
        label,
        f"{clients.acknowledged:,}",
        f"{clients.acknowledged / max(until_s - clients.begun_s, 1e-9):,.0f}",
        f"{run.table.found:,}" if run.table else "-",
        *(str(run.total(count)) for count in ("lost", "doubled", "altered")),
        f"{ends['done']} / {ends['incomplete']} / {other_ends}",
        f"{told[202]} / {told[503]} / {other_told}",
        _seconds(clients.first_202_s(run.since_s)),
        _seconds(reader.first_complete_s(run.since_s)),
        _seconds(longest_without_s(taken_s, clients.begun_s, until_s)),
        _seconds(longest_without_s(complete_s, clients.begun_s, until_s)),
        verdict,
    )
    return Outcome(cells, passed)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def show(outcomes: list[Outcome], console: Console) -> None:
    """Print the table."""
    table = Table(title=f"faults (CHAOS_SEED={SEED})", title_justify="left")
    for name in HEADER:
        table.add_column(name, justify="left" if name in ("fault", "") else "right")
    for row in outcomes:
        table.add_row(*row.cells, style="" if row.passed else "bold red")
    console.print(table)


def write(outcomes: list[Outcome], path: Path) -> None:
    """Write the table as Markdown, with machine and versions."""
    rows = grid("Faults", HEADER, [row.cells for row in outcomes], text=TEXT)
    path.write_text(f"# Results of `make chaos`\n\n{machine()}.\n\n{rows}")

"""What `make chaos` prints and writes: a row a fault.

May live here: figures as text. May not: measuring.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.benchmarks.report import grid, machine
from tests.chaos.run import Run

HEADER: Final = (
    "fault",
    "acknowledged",
    "found",
    "doubled",
    "lost",
    "answers: complete / incomplete / other",
    "pushes: 202 / 503 / other",
    "202 after s",
    "complete after s",
    "",
)
TEXT: Final = (
    "Three clients push 150 events/s without pause (with a key, with ids, with neither; the first two repeat), and one "
    "searches for all of them without pause. Acknowledged, found, doubled, lost: events, once all is over; doubled in "
    "an answer or in the table. A complete answer must hold all that was acknowledged before its search began. Seconds "
    "count from the fault to the end of the first request that began after it; from its end for those that last."
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
    ends, told = run.reader.ends(), run.clients.statuses(0.0, float("inf"))
    other_ends = sum(count for end, count in ends.items() if end not in ("done", "incomplete"))
    other_told = sum(count for status, count in told.items() if status not in (202, 503))
    cells = (
        label,
        f"{len(run.clients.acknowledged):,}",
        f"{sum(count > 0 for count in run.found.values()):,}",
        str(len(run.doubled)),
        str(len(run.lost)),
        f"{ends['done']} / {ends['incomplete']} / {other_ends}",
        f"{told[202]} / {told[503]} / {other_told}",
        _seconds(run.clients.first_202_s(run.since_s)),
        _seconds(run.reader.first_complete_s(run.since_s)),
        verdict,
    )
    return Outcome(cells, passed)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def show(outcomes: list[Outcome], console: Console) -> None:
    """Print the table."""
    table = Table(title="faults", title_justify="left")
    for name in HEADER:
        table.add_column(name, justify="left" if name in ("fault", "") else "right")
    for row in outcomes:
        table.add_row(*row.cells, style="" if row.passed else "bold red")
    console.print(table)


def write(outcomes: list[Outcome], path: Path) -> None:
    """Write the table as Markdown, with machine and versions."""
    rows = grid("Faults", HEADER, [row.cells for row in outcomes], text=TEXT)
    path.write_text(f"# Results of `make chaos`\n\n{machine()}.\n\n{rows}")

"""`make bench`: measures, prints, and writes tests/benchmarks/RESULTS.md. `--quick` is a check that it runs."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from tests.benchmarks import push, scan, store
from tests.benchmarks.report import machine, table

RESULTS = Path(__file__).parent / "RESULTS.md"


@click.command()
@click.option("--quick", is_flag=True, help="Small and short; writes no results.")
def main(quick: bool) -> None:
    """Measure the push path, the way from the log to objects, and full scans of objects."""
    seconds, rounds, count = (2.0, 1, 50_000) if quick else (8.0, 5, 500_000)
    with tempfile.TemporaryDirectory(prefix="ess-bench-") as folder:
        parts = [
            table("Push", push.measure(Path(folder), seconds, rounds)),
            table("Store", store.measure(Path(folder), count, rounds)),
            table("Scan", scan.measure(Path(folder) / "scan", count, rounds)),
        ]
    text = f"# Results of `make bench`\n\nMedians of {rounds} rounds. {machine()}.\n\n" + "\n".join(parts)
    click.echo(text)
    if not quick:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()

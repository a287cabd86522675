"""`make bench`: measures, prints, and writes tests/benchmarks/RESULTS.md. `--quick` is a check that it runs.

Only a full run writes the results: one of all parts, at full size.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from tests.benchmarks import (
    balance,
    cluster,
    corpus,
    datasets,
    decoding,
    invocations,
    over_http,
    over_s3,
    patterns,
    planning,
    push,
    scan,
    store,
    workers,
)
from tests.benchmarks.peers import measure as peers
from tests.benchmarks.report import machine, table
from tests.benchmarks.rivals import measure as rivals
from tests.benchmarks.rivals.tables import report
from tests.benchmarks.rivals.targets import targets

RESULTS: Final = Path(__file__).parent / "RESULTS.md"


@dataclass(frozen=True)
class Size:
    """How much is measured: events, seconds and rounds."""

    rounds: int
    push_s: float
    events: int
    rival_events: int
    rival_rounds: int
    objects: int
    http_events: int
    http_rounds: int
    peer_events: int
    s3_events: int
    s3_rounds: int


FULL: Final = Size(5, 8.0, 500_000, 5_000_000, 3, 100_000, 200_000, 50, 1_000_000, 1_000_000, 3)
QUICK: Final = Size(1, 2.0, 50_000, 100_000, 1, 10_000, 20_000, 5, 50_000, 100_000, 1)


def _say(text: str) -> None:
    click.echo(f"{time.strftime('%H:%M:%S')} {text}", err=True)


def _push(folder: Path, size: Size) -> str:
    return table("Push", push.measure(folder, size.push_s, size.rounds))


def _ways(_: Path, size: Size) -> str:
    return table("From an agent's batch to columns, one CPU", decoding.measure(size.rounds))


def _store(folder: Path, size: Size) -> str:
    return table("Store", store.measure(folder, size.events, size.rounds))


def _cluster(folder: Path, size: Size) -> str:
    rows = cluster.measure(folder, size.push_s, size.events, size.rounds)
    return table("Kafka (one broker, replication 1), S3 and Redis on this machine, beside the embedded profile", rows)


def _scan(folder: Path, size: Size) -> str:
    return table("Scan", scan.measure(folder, size.events, size.rounds))


def _patterns(folder: Path, size: Size) -> str:
    return table("Patterns of messages", patterns.measure(folder, size.rival_events))


def _rivals(folder: Path, size: Size) -> str:
    _say(f"making {size.rival_events:,} events")
    made = corpus.make(folder / "corpus", size.rival_events)
    results = rivals.compare(folder, made, size.rival_rounds, _say)
    return f"{report(results)}\n{targets(results)}"


def _plan(folder: Path, size: Size) -> str:
    return table(f"Plan over {size.objects:,} objects", planning.measure(folder, size.objects, size.rounds))


def _workers(folder: Path, size: Size) -> str:
    return table("One and two scan tasks at a time", workers.measure(folder, size.events, size.rounds))


def _datasets(folder: Path, size: Size) -> str:
    return table("Ray Data, one and two read tasks at a time", datasets.measure(folder, size.events, size.rounds))


def _lambda(folder: Path, size: Size) -> str:
    return invocations.measure(folder, size.events, size.rounds)


def _http(folder: Path, size: Size) -> str:
    rows = over_http.measure(folder, size.http_events, size.http_rounds)
    return table(f"Search over HTTP, {size.http_events:,} events, embedded, the client's time included", rows)


def _peers(folder: Path, size: Size) -> str:
    return peers.measure(folder, size.peer_events, size.rounds, size.push_s, _say)


def _balance(folder: Path, size: Size) -> str:
    return table("The pool", balance.measure(folder, size.push_s, size.rounds))


def _s3(folder: Path, size: Size) -> str:
    rows = over_s3.measure(folder, size.s3_events, size.s3_rounds)
    return table(f"Search over S3, from a process that knows nothing yet; of {size.s3_rounds} rounds", rows)


PARTS: Final[dict[str, Callable[[Path, Size], str]]] = {
    "push": _push,
    "ways": _ways,
    "store": _store,
    "cluster": _cluster,
    "scan": _scan,
    "patterns": _patterns,
    "rivals": _rivals,
    "plan": _plan,
    "workers": _workers,
    "datasets": _datasets,
    "http": _http,
    "peers": _peers,
    "lambda": _lambda,
    "balance": _balance,
    "s3": _s3,
}


def _chosen(_: click.Context, __: click.Parameter, only: str | None) -> list[str]:
    names = list(PARTS) if only is None else [name.strip() for name in only.split(",")]
    for name in names:
        if name not in PARTS:
            raise click.BadParameter(f"{name!r} is none of {', '.join(PARTS)}")
    return names


@click.command()
@click.option("--quick", is_flag=True, help="Small and short; writes no results, and its figures tell nothing.")
@click.option("--only", "names", callback=_chosen, help=f"Some of {','.join(PARTS)}; writes no results.")
@click.option(
    "--work-dir",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Where the data lies meanwhile (10 GB in a full run); the system's folder for such things if left out.",
)
def main(quick: bool, names: list[str], work_dir: Path | None) -> None:
    """Measure pushing, storing, scanning, patterns, other engines, planning, workers, HTTP, Lambda, pool, S3, Kafka."""
    size = QUICK if quick else FULL
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # systems and servers are ended in order, as by Ctrl-C
    texts = []
    for name in names:
        _say(name)
        with tempfile.TemporaryDirectory(prefix="ess-bench-", dir=work_dir) as folder:
            texts.append(PARTS[name](Path(folder) / name, size))
    rounds = f"Medians of {size.rounds} rounds"
    text = f"# Results of `make bench`\n\n{rounds}, unless said otherwise. {machine()}.\n\n" + "\n".join(texts)
    click.echo(text)
    if not quick and names == list(PARTS):
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()

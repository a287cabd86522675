"""A running system read by programs: the Python client, SQL, and Ray datasets in the system's own Ray."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from ess_ray.client import Client
from tests.systems import System

STORED, BUFFERED = 300, 40
_SCRIPT = """
    import json, sys
    from ess_ray.runtime.datasets import connect, read_events, write_events
    data_dir, url = sys.argv[1:]
    connect(data_dir, log_to_driver=False, logging_level="ERROR")
    import ray
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    events = read_events("service:clients level:ERROR", start=0)
    chosen = events.select_columns(["message", "attribute_numbers"])
    found = sorted(row["message"] for row in chosen.map_batches(lambda rows: rows, batch_format="pyarrow").take_all())
    parts = events.select_columns(["timestamp", "message", "attributes"])
    copies = parts.add_column("service", lambda rows: ["copied"] * len(rows))
    written = [write_events(copies, url, write_id="once") for _ in range(2)]
    print(json.dumps({"found": found, "written": written, "schema": events.schema().names}))
"""


@pytest.fixture(scope="module")
def filled(system: System) -> System:
    """Stored and buffered events of one service."""
    for count, part in ((STORED, "stored"), (BUFFERED, "buffered")):
        level = ["ERROR", "INFO"]
        events = [
            {
                "message": f"{part} {n}",
                "service": "clients",
                "level": level[n % 2],
                "attributes": {"ms": n, "part": part},
            }
            for n in range(count)
        ]
        system.push(events)
        if part == "stored":
            system.ess("flush")
    return system


def test_the_clients_events_are_those_of_a_search(filled: System) -> None:
    found = filled.search("service:clients")
    with Client(filled.url) as client:
        assert list(client.search("service:clients", start=0)) == found
        assert list(client.search("service:clients", start=0, limit=500)) == found
        table = client.stats("service:clients", ["max(ms)"], by=["level"], start=0)
        rows = {row["level"]: (row["count"], row["max(ms)"]) for row in table}
        assert rows == {"ERROR": (170, 298), "INFO": (170, 299)}
        piped = client.pipe("service:clients | stats count() as n by part | sort by n desc", start=0).to_arrow()
        assert piped.to_pydict() == {"part": ["stored", "buffered"], "n": [STORED, BUFFERED]}


def test_sql_sees_all_of_it(filled: System) -> None:
    statement = "SELECT attributes['part'] AS part, count(*) AS n FROM events WHERE service = 'clients' GROUP BY ALL"
    told = filled.ess("sql", f"{statement} ORDER BY n", "--json").stdout
    assert [json.loads(line) for line in told.splitlines()] == [
        {"part": "buffered", "n": BUFFERED},
        {"part": "stored", "n": STORED},
    ]


def test_a_script_reads_and_writes_in_the_systems_own_ray(filled: System, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(_SCRIPT))
    done = subprocess.run(
        [sys.executable, str(script), str(filled.data_dir), filled.url],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    expected = filled.search("service:clients level:ERROR")
    assert told["found"] == sorted(event["message"] for event in expected)
    assert {"timestamp", "attributes", "attribute_numbers"} <= set(told["schema"])
    assert told["written"] == [len(expected)] * 2
    assert sorted(event["message"] for event in filled.search("service:copied")) == told["found"], "each block once"

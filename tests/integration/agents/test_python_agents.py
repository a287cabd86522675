"""Clients of Python, unmodified, as the documents have them: each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.doors import Doors
from tests.snippets import snippet

CASES: list[tuple[str, str, str, str, int, dict[str, Any]]] = [
    ("opentelemetry.md", "proto.http", "8000", "http", 1, {"level": "WARN"}),
    ("opentelemetry.md", "proto.grpc", "4317", "otlp_grpc", 1, {"level": "WARN"}),
    ("elasticsearch.md", "from elasticsearch", "8000", "http", 1, {"level": "WARN", "event_id": "1"}),
    ("elasticsearch.md", "from opensearchpy", "8000", "http", 1, {"level": "WARN", "event_id": "2"}),
    ("loki.md", "logging_loki", "8000", "http", 1, {"level": "WARN", "service": "payments"}),
    ("splunk.md", "splunk_handler", "8000", "http", 1, {"service": "payments"}),
    ("fluentd.md", "from fluent", "24224", "forward", 1, {"level": "ERROR"}),
    ("gelf.md", "from pygelf", "12201", "gelf_tcp", 2, {"level": "WARN", "service": "shop"}),
    ("gelf.md", "from graypy", "12201", "gelf_tcp", 2, {"level": "WARN"}),
    ("gelf-http.md", "GelfHttpHandler", "8000", "http", 1, {"level": "WARN", "service": "shop"}),
    ("syslog.md", "SysLogHandler", "5514", "syslog_udp", 1, {"level": "WARN"}),
]
"""(document, what its snippet holds, the port in it, which that is here, events, fields of each of these)."""


@pytest.mark.parametrize(("document", "holding", "usual", "door", "count", "fields"), CASES)
def test_a_client_is_taken_as_the_document_has_it(
    doors: Doors, tmp_path: Path, document: str, holding: str, usual: str, door: str, count: int, fields: dict[str, Any]
) -> None:
    word = f"{document.removesuffix('.md')}-{''.join(filter(str.isalpha, holding))}-declined"
    script = tmp_path / "client.py"
    script.write_text(snippet(document, holding, {"card declined": word, usual: str(doors.ports[door])}))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    for row in doors.found(word, count):
        assert {name: row[name] for name in fields} == fields

"""Clients of JavaScript, unmodified, as the documents have them: `make clients` installs them in tests/clients."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.doors import Doors
from tests.servers import needs
from tests.snippets import snippet

CLIENTS = Path(__file__).parents[2] / "clients"
PROTOBUF, JSON = "exporter-logs-otlp-proto", "exporter-logs-otlp-http"
CASES: list[tuple[str, str, str, str, dict[str, Any]]] = [
    ("opentelemetry.md", "@opentelemetry/sdk-logs", "8000", "http", {"level": "WARN"}),
    ("elasticsearch.md", "@elastic/elasticsearch", "8000", "http", {"level": "WARN"}),
    ("elasticsearch.md", "pino-elasticsearch", "8000", "http", {"level": "ERROR"}),
    ("loki.md", "pino-loki", "8000", "http", {"service": "payments"}),
    ("loki.md", "winston-loki", "8000", "http", {"service": "payments", "level": "WARN"}),
    ("fluentd.md", "@fluent-org/logger", "24224", "forward", {"level": "ERROR"}),
]
"""(document, what its snippet holds, the port in it, which that is here, fields of its event)."""

pytestmark = needs(
    shutil.which("node") is not None and (CLIENTS / "node_modules").is_dir(),
    "Node.js, or no tests/clients/node_modules: `make clients`",
)


def run(text: str, doors: Doors, word: str) -> dict[str, Any]:
    command = ["node", "--input-type=module", "-"]
    done = subprocess.run(command, input=text, cwd=CLIENTS, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    (row,) = doors.found(word)
    return row


@pytest.mark.parametrize(("document", "holding", "usual", "door", "fields"), CASES)
def test_a_client_is_taken_as_the_document_has_it(
    doors: Doors, document: str, holding: str, usual: str, door: str, fields: dict[str, Any]
) -> None:
    word = f"js-{''.join(filter(str.isalpha, holding))}-declined"
    text = snippet(document, holding, {"card declined": word, f"{usual}": str(doors.ports[door])})
    row = run(text, doors, word)
    assert {name: row[name] for name in fields} == fields


def test_opentelemetry_as_json(doors: Doors) -> None:
    places = {"card declined": "js-otlp-json", "8000": str(doors.ports["http"]), PROTOBUF: JSON}
    row = run(snippet("opentelemetry.md", "@opentelemetry/sdk-logs", places), doors, "js-otlp-json")
    assert (row["level"], row["attributes"]["user.id"]) == ("WARN", "7")

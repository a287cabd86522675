"""A real HTTP server that alerts are sent to: it keeps what comes, or refuses it, as a test says."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from tests.systems import System, titled, wait_until


class Webhooks:
    """What came, and what is answered. `hang`: connections are closed without an answer."""

    def __init__(self) -> None:
        self.status = 200
        self.hang = False
        self.refused = 0
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.url = ""

    def alerts(self) -> list[dict[str, Any]]:
        return [alert for body in self.bodies for alert in body["alerts"]]

    def told(self) -> Counter[tuple[str, str, str]]:
        """Count (alert, service, status)."""
        return Counter(
            (one["labels"]["alertname"], one["labels"].get("service", ""), one["status"]) for one in self.alerts()
        )


@contextmanager
def webhooks() -> Iterator[Webhooks]:
    """Serve on a free loopback port."""
    kept = Webhooks()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if kept.hang or kept.status != 200:
                kept.refused += 1
            if kept.hang:
                return
            if kept.status == 200:
                kept.headers.append(dict(self.headers))
                kept.paths.append(self.path)
                kept.bodies.append(json.loads(body))
            self.send_response(kept.status)
            if kept.status // 100 == 3:
                self.send_header("Location", kept.url)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield kept
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def alert_settings(hooks: Webhooks) -> dict[str, str]:
    """Give the settings of a system that tells this server."""
    receivers = [{"name": "hooks", "url": f"webhook+{hooks.url}"}]
    return {"ESS_ALERTS__RECEIVERS": json.dumps(receivers), "ESS_ALERTS__ALLOW_HOSTS": '["127.0.0.1"]'}


def rules_file(folder: Path, word: str, window: str = "20s") -> Path:
    """Write a file with a rule over what has this word, evaluated each second."""
    rule = {
        "alert": "Failing",
        "expr": f"{word} level:ERROR | stats count() as n by service",
        "condition": "n >= 2",
        "window": window,
        "labels": {"severity": "page"},
        "annotations": {"summary": "{{ $value }} of {{ $labels.service }}"},
    }
    file = folder / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "payments", "interval": "1s", "rules": [rule]}]}))
    return file


def failing_events(word: str) -> str:
    """Two errors of `api`, one of `web`, with times of long ago: late events."""
    rows = [("api", 1), ("api", 2), ("web", 3)]
    lines = [
        {"message": f"{word} {n}", "level": "ERROR", "service": service, "timestamp": "2026-03-01T00:00:00Z"}
        for service, n in rows
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


def story_of_an_alert(system: System, hooks: Webhooks, folder: Path) -> None:
    """Late events fire an alert; who is to be told is away, the actor dies; each is told once, and of the end."""
    word = "story-of-an-alert"
    file = rules_file(folder, word)
    hooks.status = 503
    system.ess("alerts", "apply", str(file))
    system.ess("push", "-", stdin=failing_events(word))
    wait_until(lambda: hooks.refused, "nobody was told")
    found = json.loads(system.ess("alerts", "list", "--json", ok=(0, 3)).stdout)
    (alert,) = found["alerts"]
    assert (alert["state"], alert["labels"]["service"], alert["value"]) == ("firing", "api", 2.0)
    (actor,) = titled(system, "AlertsActor")
    actor.kill()
    hooks.status = 200
    wait_until(hooks.alerts, "what was not told before the actor died was forgotten")
    (before,) = hooks.alerts()
    assert (before["status"], before["annotations"]) == ("firing", {"summary": "2 of api"})
    assert before["labels"] == {"alertname": "Failing", "service": "api", "severity": "page"}
    assert "_ess.observed_timestamp" in before["generatorURL"]
    wait_until(lambda: ("Failing", "api", "resolved") in hooks.told(), "its end was not told")
    assert hooks.told() == {("Failing", "api", "firing"): 1, ("Failing", "api", "resolved"): 1}
    (ended,) = [one for one in hooks.alerts() if one["status"] == "resolved"]
    assert (ended["startsAt"], ended["fingerprint"]) == (before["startsAt"], before["fingerprint"])
    system.ess("alerts", "rm", "payments")
    assert json.loads(system.ess("alerts", "list", "--json").stdout)["groups"] == []

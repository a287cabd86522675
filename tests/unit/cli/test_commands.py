"""Which system a command finds, and the commands that neither push nor ask: what is printed, and the exit codes."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import click
import orjson
import pytest
from click.testing import CliRunner

from ess_ray.cli import main
from ess_ray.core.timestamps import format_timestamp
from tests.cli_contract import Contract, Ess, compacted


# ------------------------------------------------------------------------------------------------------- where
def test_the_run_file_of_a_named_folder_comes_before_the_environment(
    ess: Ess, server: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ESS_URL", "http://127.0.0.1:9")
    assert ess("flush").exit_code == 0


def test_the_address_may_come_from_an_option_or_a_variable(
    contract: tuple[Contract, str], data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = CliRunner()
    assert runner.invoke(main, ["flush", "--url", contract[1]]).exit_code == 0
    monkeypatch.setenv("ESS_URL", contract[1])
    assert runner.invoke(main, ["flush"]).exit_code == 0
    monkeypatch.delenv("ESS_URL")
    monkeypatch.setenv("ESS_DATA_DIR", str(data_dir))
    assert runner.invoke(main, ["flush"]).exit_code == 0


def test_a_folder_where_nothing_was_started_never_leads_to_another_system(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["flush", "--data-dir", str(tmp_path / "none")])
    assert done.exit_code == 1
    assert "ess up --data-dir" in done.stderr


def test_nobody_there_is_said_with_the_address() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        done = CliRunner().invoke(main, ["status", "--url", url])
    assert done.exit_code == 1
    assert url in done.stderr


def test_a_wrong_setting_is_usage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "ess.yaml").write_text("lgo: {vnodes: 1}\n")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["status"])
    assert done.exit_code == 2
    assert "did you mean log" in done.stderr


# ------------------------------------------------------------------------------------------------------- others
def test_status_and_flush(ess: Ess, server: Contract) -> None:
    assert json.loads(ess("flush", "--json").stdout) == {"rows": 1234, "objects": 2}
    assert ess("flush").stdout == "rows 1,234, objects 2\n"
    told = json.loads(ess("status", "--json").stdout)
    assert (told["healthy"], told["table"]["version"]) == (True, 7)
    server.healthy = False
    done = ess("status")
    assert done.exit_code == 1
    assert "state         not healthy" in done.stdout
    assert "search is down" in done.stderr


def test_status_tells_people_what_comes_in_what_waits_what_is_stored_and_what_is_wrong(
    ess: Ess, server: Contract
) -> None:
    server.condition = {**server.condition, "warnings": ["tenant=default/date=2026-11-20/" + "a" * 90 + " is damaged"]}
    done = ess("status")
    assert done.exit_code == 0
    lines = dict(line.split(None, 1) for line in done.stdout.splitlines())
    assert lines["state"].startswith("well")
    assert lines["events"] == "1,234 a second"
    assert lines["lag"].startswith("12 records of the log are not stored yet: 2.0 kB buffered")
    assert lines["storage"] == "999,999 events in 3 objects, 4.1 MB"
    assert lines["disk"] == "120 GB free of 500 GB"
    assert lines["pool"] == "1 of 2 actors work"
    assert lines["replicas"] == "push 2 running, 1 starting; search 1 running"
    assert "http://127.0.0.1:1/metrics" in done.stdout
    assert "two is dead" in done.stdout
    assert "a" * 90 in done.stderr  # a name is never broken
    assert all(len(line) <= 80 for line in done.stdout.splitlines() if "http" not in line)


def test_status_of_another_version_leaves_out_what_it_does_not_tell(ess: Ess, server: Contract) -> None:
    server.condition = {}
    done = ess("status")
    assert done.exit_code == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["address", "state"]


def test_generate_pushes_or_writes(ess: Ess, server: Contract, tmp_path: Path) -> None:
    end = format_timestamp(1_790_000_000_000_000)
    done = ess("generate", "--events", "2500", "--seed", "3", "--end", end, "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["accepted"] == len(server.pushed) == 2500
    file = tmp_path / "out.ndjson"
    assert ess("generate", "--events", "2500", "--seed", "3", "--end", end, "--output", str(file)).exit_code == 0
    written = [orjson.loads(line) for line in file.read_bytes().splitlines()]
    assert sorted(map(repr, written)) == sorted(map(repr, server.pushed))


def test_generate_keeps_a_rate(ess: Ess, server: Contract) -> None:
    started_s = time.monotonic()
    assert ess("generate", "--events", "60", "--rate", "100").exit_code == 0
    assert time.monotonic() - started_s > 0.4
    assert len(server.keys) == 6


def test_doctor_names_what_is_not_on_loopback(ess: Ess, server: Contract) -> None:
    with socket.socket() as outside:
        outside.bind(("0.0.0.0", 0))
        outside.listen()
        found = {(c["check"], c["found"]): c["state"] for c in json.loads(ess("doctor", "--json").stdout)}
        port = outside.getsockname()[1]
        assert [state for (name, text), state in found.items() if name == "open port" and f":{port} " in text] == [
            "warning"
        ]
    checks = {name: state for (name, _), state in found.items()}
    assert (checks["python"], checks["push"], checks["search"]) == ("ok", "ok", "ok")
    server.healthy = False
    assert ess("doctor").exit_code == 1


def test_every_command_explains_itself() -> None:
    groups = {name: command for name, command in main.commands.items() if isinstance(command, click.Group)}
    paths = [[name] for name in main.commands.keys() - groups.keys()]
    paths += [[name, inner] for name, group in groups.items() for inner in group.commands]
    for path in paths:
        done = CliRunner().invoke(main, [*path, "--help"])
        assert done.exit_code == 0
        assert "--data-dir" in done.stdout
        assert "--url" in done.stdout


# ------------------------------------------------------------------------------------------------------------ compact
def test_compact_goes_on_until_all_is_merged_up_to_one_moment(ess: Ess, server: Contract) -> None:
    server.compacted = [compacted(2, more=True), compacted(1)]
    done = ess("compact", "--json")
    assert done.exit_code == 0
    told = orjson.loads(done.stdout)
    assert (told["merged_objects"], told["new_objects"], told["expired_rows"], told["more"]) == (9, 3, 20, False)
    assert server.compactions == [{}, {"before_us": 77}]


def test_compact_tells_what_it_did(ess: Ess, server: Contract) -> None:
    server.compacted = [compacted(1)]
    done = ess("compact")
    assert "3 objects became 1 (30 events, 300 bytes became 200)" in done.stdout
    assert "1 objects (10 events) were too old" in done.stdout


def test_compact_fails_when_something_was_left_and_does_not_turn_for_ever(ess: Ess, server: Contract) -> None:
    server.compacted = [compacted(0, more=True, skipped=({"partition": "default/x/01", "reason": "it is gone"},))]
    done = ess("compact")
    assert done.exit_code == 1
    assert "default/x/01 was left as it is: it is gone" in done.stderr

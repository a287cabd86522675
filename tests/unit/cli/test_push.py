"""`ess push` against a server that answers as the contract says: what is sent, printed, and the exit codes."""

from __future__ import annotations

import gzip
import json
import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from starlette.responses import JSONResponse

from ess_ray.cli import main
from tests.cli_contract import Contract, Ess, problem


def test_push_sends_lines_and_prints_how_to_find_them(ess: Ess, server: Contract, tmp_path: Path) -> None:
    file = tmp_path / "app.log"
    file.write_text("".join(f"2026-11-24T10:00:{i % 60:02d}Z line {i}\n" for i in range(12500)))
    done = ess("push", str(file), "--service", "my app")
    assert done.exit_code == 0
    assert sorted(e["message"][21:] for e in server.pushed) == sorted(f"line {i}" for i in range(12500))
    assert len(set(server.keys)) == 3
    assert "12,500 accepted, 0 rejected" in done.stdout
    assert "from 2026-11-24T10:00:00.000000Z to 2026-11-24T10:00:59.000000Z" in done.stdout
    assert re.search(r"""ess search 'service:"my app"' --since 2026-\S+ --until 2026-\S+:59\.000001Z""", done.stdout)


def test_a_refused_batch_is_sent_again_under_its_key(ess: Ess, server: Contract) -> None:
    server.refusals = [JSONResponse({"detail": "busy"}, code, headers={"Retry-After": "0"}) for code in (503, 429, 500)]
    done = ess("push", "-", "--json", stdin="a line\n")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["accepted"] == 1
    assert len(server.keys) == 4
    assert len(set(server.keys)) == 1


def test_rejected_events_are_named_by_their_line(ess: Ess, server: Contract) -> None:
    lines = ['{"message":"a"}', "", '{"message":"bad"}', "no json", '{"message":"b"}']
    done = ess("push", "-", "--json", "--format", "ndjson", stdin="\n".join(lines))
    told = json.loads(done.stdout)
    assert done.exit_code == 1
    assert (told["accepted"], told["rejected"]) == (2, 2)
    assert sorted(one["position"] for one in told["rejections"]) == [3, 4]
    done = ess("push", "-", stdin='{"message":"bad"}')
    assert done.exit_code == 1
    assert "every event is invalid" in done.stderr


def test_a_refusal_that_will_not_change_ends_the_push(ess: Ess, server: Contract) -> None:
    server.refusals = [problem(415, "no such encoding")]
    done = ess("push", "-", stdin="a line\n")
    assert done.exit_code == 1
    assert "no such encoding" in done.stderr
    assert "0 accepted" in done.stdout


def test_what_was_acknowledged_before_a_failure_is_told(ess: Ess, server: Contract, tmp_path: Path) -> None:
    whole = gzip.compress(b"".join(b"%d %s\n" % (i, os.urandom(40).hex().encode()) for i in range(5000)))
    file = tmp_path / "cut.log.gz"
    file.write_bytes(whole[: len(whole) * 3 // 4])
    done = ess("push", str(file), "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["accepted"] == len(server.pushed) > 0
    assert "cut.log.gz cannot be read to its end" in done.stderr


def test_an_empty_input_is_done(ess: Ess, server: Contract) -> None:
    done = ess("push", "-", "--json", stdin="")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["accepted"] == 0
    assert not server.keys


@pytest.mark.parametrize("arguments", [["push"], ["push", "no-such-file"], ["push", "-", "--format", "xml"], ["fly"]])
def test_wrong_usage_is_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(main, arguments).exit_code == 2


def test_a_form_that_is_not_there_is_2(ess: Ess) -> None:
    assert ess("push", "-", "--format", "json", stdin="no json").exit_code == 2


@pytest.mark.parametrize("data", ["Grüße\n".encode() * 9 + b"bad \xff\n" * 2, b"x\n" * 90_000 + b"\xff\n" * 80_000])
def test_a_file_of_another_encoding_never_ends_as_done(ess: Ess, server: Contract, tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "app.log"
    file.write_bytes(data)
    done = ess("push", str(file), "--json")
    assert done.exit_code in (1, 2)
    assert "--encoding" in done.stderr
    done = ess("push", str(file), "--again", "--json", "--encoding", "utf-8")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["replaced"] == data.count(b"\xff")
    assert "U+FFFD" in done.stderr


def test_a_few_stray_bytes_are_told_and_stored(ess: Ess, server: Contract, tmp_path: Path) -> None:
    file = tmp_path / "app.log"
    file.write_bytes(b"line\n" * 30 + b"bad \xff\n")
    done = ess("push", str(file))
    assert done.exit_code == 0
    assert "1 lines are not UTF-8 (the first is line 31)" in done.stderr
    assert server.pushed[-1]["message"] == "bad \ufffd"


@pytest.mark.parametrize("options", [["--encoding", "no-such"], ["--encoding", "hex"], ["--tz", "IST"]])
def test_wrong_names_are_2(ess: Ess, options: list[str]) -> None:
    assert ess("push", "-", *options, stdin="a\n").exit_code == 2


def test_a_zone_that_is_unclear_stops_the_push_with_its_line(ess: Ess, server: Contract, tmp_path: Path) -> None:
    file = tmp_path / "app.log"
    file.write_text("2026-11-20 12:00:00Z a\n" * 5_200 + "2026-11-20 12:00:00 IST b\n")
    done = ess("push", str(file))
    assert done.exit_code == 2
    assert "line 5,201: IST may be India Standard Time" in done.stderr
    assert len(server.pushed) == 5_000
    assert ess("push", str(file), "--tz", "Asia/Kolkata").exit_code == 0
    assert len(server.pushed) == 5_201
    assert server.pushed[-1]["timestamp"] == "2026-11-20T06:30:00.000000Z"

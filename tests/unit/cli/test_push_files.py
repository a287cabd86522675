"""`ess push` of several files and folders, of formats, and without sending."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import orjson

from tests.cli_contract import Contract, Ess

SAMPLES = Path(__file__).parents[1] / "lines" / "samples"
AT = "2026-11-24T10:00:00Z"


def messages(server: Contract) -> list[str]:
    return [event["message"] for event in server.pushed]


def test_a_format_is_recognised_and_what_it_does_not_understand_is_told(
    ess: Ess, server: Contract, tmp_path: Path
) -> None:
    file = tmp_path / "access.log"
    file.write_bytes((SAMPLES / "access" / "in.log").read_bytes())
    done = ess("push", str(file))
    assert done.exit_code == 0
    assert "1 event is not as access has them" in done.stderr
    assert "line 7: one line that is none" in done.stderr
    assert messages(server) == [line for line in file.read_text().split("\n") if line]
    assert [event.get("level") for event in server.pushed] == ["INFO", "ERROR", "WARN", "WARN", "INFO", None]
    assert server.pushed[0]["attributes"]["status"] == 200
    assert {event["log.file.path"] for event in server.pushed} == {str(file)}
    assert server.pushed[5]["timestamp"] == server.pushed[4]["timestamp"] == "2026-11-24T09:00:04.000000Z"


def test_several_files_and_folders_are_pushed_in_their_order(ess: Ess, server: Contract, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    (logs / "b").mkdir(parents=True)
    (logs / ".git").mkdir()
    (logs / ".git" / "config").write_text("hidden\n")
    (logs / ".hidden").write_text("hidden\n")
    (logs / "a.log").write_text(f"{AT} a\n")
    (logs / "b" / "c.log.gz").write_bytes(gzip.compress(f"{AT} c\n".encode()))
    (logs / "b" / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    (logs / "z.log").symlink_to(logs / "a.log")
    other = tmp_path / "other.json"
    other.write_text('{"message": "o"}\n')
    done = ess("push", str(other), str(logs), "--json")
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    assert (told["accepted"], told["files"], told["formats"]) == (3, 3, ["json-lines", "text"])
    assert [message.removeprefix(f"{AT} ") for message in messages(server)] == ["o", "a", "c"]
    assert "left out in" in done.stderr
    assert ".git, .hidden" in done.stderr
    assert "picture.png: it is a picture" in done.stderr
    again = json.loads(ess("push", str(other), str(logs), "--json").stdout)
    assert (again["accepted"], again["pushed_before"]) == (0, 3)


def test_what_is_no_file_is_left_out_and_said(ess: Ess, server: Contract, tmp_path: Path) -> None:
    logs, linked = tmp_path / "logs", tmp_path / "linked"
    logs.mkdir()
    linked.mkdir()
    (logs / "a.log").write_text(f"{AT} a\n")
    (logs / "empty.log").touch()
    (logs / "blank.log").write_bytes(b"\n\n\n")
    (logs / "gone.log").symlink_to(tmp_path / "nowhere")
    (logs / "others").symlink_to(linked)
    os.mkfifo(logs / "pipe.log")
    for names in (str(logs), str(logs / "*.log")):
        done = ess("push", names)
        assert done.exit_code == 0
        assert "pipe.log: it is no regular file" in done.stderr
        assert "gone.log: it is no regular file, nor a link to one" in done.stderr
    assert "links to folders: others" in ess("push", str(logs)).stderr
    assert messages(server) == [f"{AT} a"]
    assert ess("push", str(logs / "gone.log")).exit_code == 2


def test_names_that_are_no_text_are_told_and_pushed(ess: Ess, server: Contract, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    for name in (b"a\xff.log", "b ü\n\x1b[31m.log".encode()):
        (logs / os.fsdecode(name)).write_text('{"message": "a"}\n[1]\n')
    done = ess("push", str(logs), "--format", "ndjson", "--json")
    told = json.loads(done.stdout)
    assert (told["accepted"], told["rejected"]) == (2, 2)
    first, second = (each["reason"] for each in told["rejections"])
    assert "a\ufffd.log" in first
    assert "b ü" in second
    assert "\x1b" not in done.stderr + first + second
    paths = [event["log.file.path"] for event in server.pushed]
    assert paths[0].endswith("a\ufffd.log")
    assert paths[1].endswith("b ü\n\x1b[31m.log")


def test_a_pattern_that_the_shell_left_names_files(ess: Ess, server: Contract, tmp_path: Path) -> None:
    for name in ("a.log", "b.log", "c.txt"):
        (tmp_path / name).write_text(f"{AT} {name}\n")
    assert ess("push", str(tmp_path / "*.log")).exit_code == 0
    assert [message[21:] for message in messages(server)] == ["a.log", "b.log"]
    assert ess("push", str(tmp_path / "*.no")).exit_code == 2
    assert ess("push", str(tmp_path / "no-such")).exit_code == 2


def test_one_bad_file_of_several_does_not_stop_the_others(ess: Ess, server: Contract, tmp_path: Path) -> None:
    (tmp_path / "bad.log").write_bytes(gzip.compress(b"x" * 9_999)[:20])
    (tmp_path / "b.log").write_text(f"{AT} b\n")
    (tmp_path / "archive").write_bytes(b"PK\x03\x04" + bytes(100))
    done = ess("push", *(str(tmp_path / name) for name in ("bad.log", "archive", "b.log")))
    assert done.exit_code == 1
    assert "bad.log cannot be read to its end" in done.stderr
    assert "archive: it is a ZIP archive" in done.stderr
    assert messages(server) == [f"{AT} b"]


def test_rejections_of_several_files_name_them(ess: Ess, server: Contract, tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text('{"message": "fine"}\n{"message": "bad"}\n')
    done = ess("push", str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--json")
    assert done.exit_code == 1
    reasons = [one["reason"] for one in json.loads(done.stdout)["rejections"]]
    assert [str(tmp_path / name) in reason for name, reason in zip(("a.json", "b.json"), reasons, strict=True)] == [
        True,
        True,
    ]


def test_a_stack_trace_is_one_event_and_is_pushed_once(ess: Ess, server: Contract, tmp_path: Path) -> None:
    trace = f"{AT} ERROR x\njava.lang.Exception: y\n\tat a.B.c(B.java:1)\nCaused by: z"
    file = tmp_path / "app.log"
    file.write_text(f"{trace}\n{AT} INFO after\n")
    assert ess("push", str(file)).exit_code == 0
    assert messages(server) == [trace, f"{AT} INFO after"]
    with file.open("a") as out:
        out.write(f"{trace}\n")
    assert ess("push", str(file)).exit_code == 0
    assert messages(server) == [trace, f"{AT} INFO after", trace]
    assert ess("push", str(file), "--again", "--format", "lines").exit_code == 0
    assert len(server.pushed) == 3 + 9


def test_a_table_is_carried_on_under_its_header(ess: Ess, server: Contract, tmp_path: Path) -> None:
    file = tmp_path / "events.csv"
    file.write_text("timestamp,message,user\n2026-11-24 10:00:00,a,7\n")
    assert ess("push", str(file), "--tz", "Europe/Berlin").exit_code == 0
    with file.open("a") as out:
        out.write("2026-11-24 10:00:01,b,8\n")
    assert ess("push", str(file), "--tz", "Europe/Berlin").exit_code == 0
    assert messages(server) == ["a", "b"]
    assert server.pushed[1]["timestamp"] == "2026-11-24T09:00:01.000000Z"
    assert server.pushed[1]["attributes"] == {"user": 8}


def test_a_pattern_and_a_start_of_ones_own(ess: Ess, server: Contract, tmp_path: Path) -> None:
    pattern = r"^\[(?P<time>[^\]]+)\] (?P<level>\w+) (?P<user>\d+) (?P<message>(?s:.*))"
    done = ess("push", "-", "--parse", pattern, "--multiline", r"^\[", stdin=f"[{AT}] warn 7 two\nlines\n[no]\n")
    assert done.exit_code == 0
    assert [(e["message"], e.get("level"), e.get("attributes")) for e in server.pushed] == [
        ("two\nlines", "warn", {"user": 7}),
        ("[no]", None, None),
    ]
    assert "1 event is not as --parse has them" in done.stderr
    for option in ("--parse", "--multiline"):
        assert ess("push", "-", option, "(", stdin="a\n").exit_code == 2


def test_parts_between_each_other_are_in_one_request(ess: Ess, server: Contract, tmp_path: Path) -> None:
    file = tmp_path / "0.log"
    file.write_bytes((SAMPLES / "cri" / "in.log").read_bytes())
    assert ess("push", str(file)).exit_code == 0
    assert [event["message"].split("\n")[0][:10] for event in server.pushed] == [
        "listening",
        "E1124 10:0",
        "first half",
        "panic: boo",
    ]
    assert json.loads(ess("push", str(file), "--json").stdout)["accepted"] == 0


def test_amazons_records_are_events(ess: Ess, server: Contract, tmp_path: Path) -> None:
    record = {"eventVersion": "1.08", "eventTime": AT, "eventSource": "s3.amazonaws.com", "eventName": "GetObject"}
    file = tmp_path / "trail.json.gz"
    file.write_bytes(gzip.compress(json.dumps({"Records": [record, {**record, "n": 2}]}).encode()))
    assert ess("push", str(file)).exit_code == 0
    assert messages(server) == ["s3.amazonaws.com GetObject"] * 2
    assert server.pushed[1]["timestamp"] == AT


def test_a_dry_run_shows_the_first_events_and_sends_nothing(ess: Ess, server: Contract, tmp_path: Path) -> None:
    file = tmp_path / "app.log"
    file.write_text("".join(f"{AT} ERROR line {number}\n" for number in range(12)))
    done = ess("push", str(file), "--dry-run", "--service", "shop")
    assert done.exit_code == 0
    events = [orjson.loads(line) for line in done.stdout.splitlines()]
    assert len(events) == 10
    assert events[0] == {
        "timestamp": "2026-11-24T10:00:00.000000Z",
        "level": "ERROR",
        "severity_number": 17,
        "service": "shop",
        "message": f"{AT} ERROR line 0",
        "attributes": {"log.file.path": str(file)},
    }
    assert "text, 12 events; nothing was sent" in done.stderr
    assert not server.pushed
    assert not server.keys
    assert json.loads(ess("push", str(file), "--json").stdout)["accepted"] == 12

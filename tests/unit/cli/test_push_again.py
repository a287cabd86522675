"""`ess push` of what was pushed before: files are known again, what is new in them is pushed, nothing twice."""

from __future__ import annotations

import bz2
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli_contract import Contract, Ess
from tests.pushed_files import ELEVEN, Push, append, file, messages, push, small_batches

__all__ = ["file", "push", "small_batches"]


def test_a_second_push_stores_what_is_new(push: Push, server: Contract, file: Path) -> None:
    append(file, *ELEVEN)
    assert push()["accepted"] == 10
    again = push()
    assert (again["accepted"], again["pushed_before"]) == (0, 10)
    append(file, "line 10")
    assert push()["accepted"] == 1
    assert messages(server) == [*ELEVEN, "line 10"]


def test_a_large_file_grows_in_the_midst_of_pushes(push: Push, server: Contract, file: Path) -> None:
    lines = [f"2026-11-20T12:00:00Z line {number} {'x' * (number % 300)}" for number in range(5_000)]
    for start in range(0, 5_000, 1_237):
        append(file, *lines[start : start + 1_237])
        push()
    assert messages(server) == lines


def test_two_files_with_equal_lines_are_two(push: Push, server: Contract, file: Path, tmp_path: Path) -> None:
    other = tmp_path / "b.log"
    for each in (file, other):
        append(each, "2026-11-20 12:00:00 pod started")
        push("--tz", "UTC", path=each)
    assert len(server.pushed) == 2
    assert len(set(server.keys)) == 2
    assert len(set(server.routes)) == 2


def test_again_pushes_all_of_it_again(push: Push, server: Contract, file: Path) -> None:
    append(file, "2026-11-20T12:00:00Z a")
    push()
    assert push("--again")["accepted"] == 1
    assert len(server.pushed) == 2
    assert push()["accepted"] == 0


def test_a_renamed_file_is_known(push: Push, server: Contract, file: Path, tmp_path: Path) -> None:
    append(file, "a")
    push()
    rotated = file.rename(tmp_path / "app.log.1")
    append(file, "b")
    assert push(path=rotated)["accepted"] == 0
    assert push()["accepted"] == 1
    assert messages(server) == ["a", "b"]


@pytest.mark.parametrize(
    "content",
    ["z\n", "other line 0\n" * 20, "line 0\nline x\n" + "".join(f"{one}\n" for one in ELEVEN), "x" * 3_000 + "\n"],
    ids=["shorter", "longer", "same start", "long"],
)
def test_a_file_that_was_written_anew_is_pushed_as_a_new_one(
    push: Push, server: Contract, file: Path, content: str
) -> None:
    append(file, *ELEVEN)
    push()
    file.write_text(content)  # the inode stays, as with copytruncate
    told = push()
    assert "another file" in told["told"]
    assert messages(server) == [*ELEVEN, *content.splitlines()]
    assert push()["accepted"] == 0


def test_what_was_truncated_and_written_alike_is_stored_again(push: Push, server: Contract, file: Path) -> None:
    append(file, "2026-11-20T12:00:00Z a", "2026-11-20T12:00:00Z b")
    push()
    file.write_text("2026-11-20T12:00:00Z a\n")
    assert push()["accepted"] == 1
    assert len(server.pushed) == 3


def test_systems_and_tenants_are_told_apart(push: Push, server: Contract, file: Path) -> None:
    append(file, "a")
    push()
    server.tenant = "shop"
    assert push()["accepted"] == 1
    server.log_id = "log-2"
    assert push()["accepted"] == 1
    server.log_id = None
    assert [push()["accepted"] for _ in range(2)] == [1, 0]


def test_standard_input_is_not_remembered(ess: Ess, server: Contract) -> None:
    for _ in range(2):
        assert ess("push", "-", stdin="x\n").exit_code == 0
    assert messages(server) == ["x", "x"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_line_that_gets_its_end_later_is_one_line(push: Push, server: Contract, file: Path, end: str) -> None:
    append(file, "a", "b", end="")
    push()
    append(file, end="")
    assert push()["accepted"] == 0
    append(file, end=end)
    assert push()["accepted"] == 0
    append(file, "c", "d", end="")
    assert push()["accepted"] == 2
    append(file, "", "e")
    assert push()["accepted"] == 1
    assert messages(server) == ["a", "b", "c", "d", "e"]


def test_a_line_that_goes_on_later_is_pushed_whole(push: Push, server: Contract, file: Path) -> None:
    append(file, "first", "sec", end="")
    push()
    append(file, "ond", "third")
    assert "line 2 had no end" in push()["told"]
    assert messages(server) == ["first", "sec", "second", "third"]
    assert push()["accepted"] == 0


def test_half_a_json_line_is_read_again(push: Push, server: Contract, file: Path) -> None:
    append(file, '{"message":"a"}', '{"message":', end="")
    assert push("--format", "ndjson", exit_code=1)["rejected"] == 1
    append(file, '"b"}')
    push()
    assert messages(server) == ["a", "b"]


def test_lines_without_a_time_go_on_with_that_before(push: Push, server: Contract, file: Path) -> None:
    append(file, "2026-11-20T12:00:00Z Traceback")
    push()
    append(file, "  at frame")
    push()
    assert [event["timestamp"] for event in server.pushed] == ["2026-11-20T12:00:00.000000Z"] * 2


def test_rejected_lines_are_named_by_their_place_in_the_file(push: Push, file: Path) -> None:
    append(file, '{"message":"a"}', '{"message":"b"}')
    push()
    append(file, '{"message":"c"}', "no json")
    assert push("--format", "ndjson", exit_code=1)["rejections"][0]["position"] == 4


def test_a_json_document_is_known_by_all_of_it(push: Push, server: Contract, file: Path) -> None:
    file.write_text(json.dumps([{"message": name} for name in "abc"], indent=1))
    assert [push()["accepted"] for _ in range(2)] == [3, 0]
    file.write_text(json.dumps([{"message": name} for name in "abcd"], indent=1))
    told = push()
    assert (told["accepted"], "another file" in told["told"]) == (4, True)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_a_compressed_file_is_known_by_its_content(
    push: Push, server: Contract, file: Path, pack: Callable[[bytes], bytes]
) -> None:
    file.write_bytes(pack(b"".join(b"line %d\n" % number for number in range(2_500))))
    assert [push()["accepted"] for _ in range(2)] == [2_500, 0]
    with file.open("ab") as out:
        out.write(pack(b"late\n"))
    assert push()["accepted"] == 1
    assert messages(server)[-1] == "late"
    file.write_bytes(pack(b"other\n"))
    assert push()["accepted"] == 1


def test_utf_16_grows_too(push: Push, server: Contract, file: Path) -> None:
    file.write_bytes("ä\r\nö\r\n".encode("utf-16"))
    push()
    with file.open("ab") as out:
        out.write("ü\r\n".encode("utf-16-le"))
    assert push()["accepted"] == 1
    assert messages(server) == ["ä", "ö", "ü"]

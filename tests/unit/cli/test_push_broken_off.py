"""`ess push` that is broken off: what may have been stored is asked for, the rest is pushed, nothing twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ess_ray.cli import file_push
from ess_ray.cli.client import Client
from tests.cli_contract import Contract, problem
from tests.pushed_files import Push, append, file, messages, push, small_batches

__all__ = ["file", "push", "small_batches"]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Client.call_patiently.__kwdefaults__, "for_s", 0.0)


LINES = [f"line {number}" for number in range(3_500)]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("is_stored", [True, False])
def test_an_answer_that_was_lost_is_asked_for_again(push: Push, server: Contract, file: Path, is_stored: bool) -> None:
    append(file, *LINES)
    server.well = (0, is_stored)
    assert push("--service", "s", exit_code=1)["accepted"] == 0
    server.well = None
    append(file, "late")
    told = push("--service", "t")
    assert told["accepted"] == 3_501
    assert messages(server) == [*LINES, "late"]
    # What was under way is the same request, whatever this push was asked.
    assert [event["service"] for event in server.pushed] == ["s"] * 1_000 + ["t"] * 2_501


@pytest.mark.usefixtures("impatient")
def test_a_system_that_goes_down_midway_misses_nothing(push: Push, server: Contract, file: Path) -> None:
    append(file, *LINES, end="")
    for is_stored in (True, False, True):
        server.well = (1, is_stored)
        push(exit_code=1)
    server.well = None
    assert push()["accepted"] > 0
    assert messages(server) == LINES


@pytest.mark.usefixtures("impatient")
def test_half_a_line_that_was_under_way_is_sent_again_as_it_was(push: Push, server: Contract, file: Path) -> None:
    append(file, "a", "b", end="")
    server.well = (0, True)
    push(exit_code=1)
    server.well = None
    append(file, "", "c")
    push()
    assert messages(server) == ["a", "b", "c"]


@pytest.mark.usefixtures("impatient")
def test_a_document_that_was_under_way_is_carried_on(push: Push, server: Contract, file: Path) -> None:
    file.write_text(json.dumps([{"message": line} for line in LINES]))
    server.well = (2, True)
    push(exit_code=1)
    server.well = None
    assert push()["accepted"] == 1_500
    assert messages(server) == LINES


@pytest.mark.usefixtures("impatient")
def test_what_may_be_doubled_is_said(push: Push, server: Contract, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append(file, "a")
    server.well = (0, True)
    push(exit_code=1)
    server.well = None
    monkeypatch.setattr(file_push, "REPEATS_KNOWN_US", -1)
    assert "while lines 1 to 1 were on their way" in push()["told"]
    append(file, "b")
    server.well = (0, True)
    push(exit_code=1)
    server.well = None
    file.write_text("c\n")
    assert "may be stored twice" in push()["told"]


def test_a_refused_push_leaves_nothing_under_way(push: Push, server: Contract, file: Path) -> None:
    append(file, "a")
    server.refusals = [problem(401, "no key")]
    push("--service", "wrong", exit_code=1)
    push("--service", "right")
    assert [event["service"] for event in server.pushed] == ["right"]


def test_a_refusal_after_an_answer_that_was_lost_forgets_nothing(push: Push, server: Contract, file: Path) -> None:
    append(file, "a")
    server.well = (0, True)
    server.on_lost = lambda: server.refusals.append(problem(401, "revoked"))
    push("--service", "first", exit_code=1)
    server.well = None
    push("--service", "second")
    assert [event["service"] for event in server.pushed] == ["first"]


def test_one_request_is_under_way_at_a_time_and_all_have_one_route(push: Push, server: Contract, file: Path) -> None:
    append(file, *LINES)
    push()
    assert (server.most_at_a_time, len(set(server.routes))) == (1, 1)
    assert server.routes[0]

"""`ess push --follow`, look by look: what grows, rotates, is truncated or goes on later is stored once and whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.responses import JSONResponse

from ess_ray.cli.client import Client, locate
from ess_ray.cli.file_push import Asked
from ess_ray.cli.follow_files import LINGER_S, QUIET_S, Follower
from ess_ray.cli.items import Defaults
from ess_ray.cli.push_files import Pusher
from ess_ray.cli.push_told import Told
from ess_ray.cli.when import Zone
from ess_ray.core.errors import EssError
from ess_ray.settings import load
from tests.cli_contract import Contract, Ess, problem

AT = "2026-11-24T10:00:00Z"
TRACE = f"{AT} ERROR x\njava.lang.Exception: y\n\tat a.B.c(B.java:1)"


class Clock:
    """A clock that the test moves."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def follow(data_dir: Path, clock: Clock) -> Iterator[Callable[..., Follower]]:
    target = locate(load(data_dir=data_dir, url=None), data_dir, None)
    followers = []
    with Client(target) as client:

        def make(*names: str, again: bool = False) -> Follower:
            asked = Asked("auto", None, Defaults(), Zone(), again)
            pusher = Pusher(client, target, asked, Told(target, None, 0.0, False))
            followers.append(Follower(names, pusher, clock))
            return followers[-1]

        yield make
        for follower in followers:
            follower.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "app.log"


def append(file: Path, text: str) -> None:
    with file.open("a") as out:
        out.write(text)


def messages(server: Contract) -> list[str]:
    return [event["message"] for event in server.pushed]


Follow = Callable[..., Follower]


def test_what_is_appended_is_pushed_and_the_last_event_once_it_is_whole(
    follow: Follow, server: Contract, file: Path, clock: Clock
) -> None:
    append(file, f"{AT} a\n{TRACE}\n")
    follower = follow(str(file))
    follower.look()
    assert messages(server) == [f"{AT} a"]
    append(file, "\t... 7 more\nCaused by")
    follower.look()
    clock.now_s += QUIET_S
    follower.look()
    assert messages(server) == [f"{AT} a", f"{TRACE}\n\t... 7 more"]
    append(file, ": z\n")
    follower.look()
    clock.now_s += QUIET_S
    follower.look()
    follower.look()
    assert messages(server)[2:] == ["Caused by: z"]


def test_a_renamed_file_is_read_to_its_end_before_the_new_one(
    follow: Follow, server: Contract, file: Path, clock: Clock
) -> None:
    append(file, f"{AT} a\n")
    follower = follow(str(file.parent / "*.log*"))
    follower.look()
    append(file, f"{AT} b\n{AT} without an end")
    file.rename(file.with_suffix(".log.1"))
    append(file, f"{AT} c\n")
    for _ in range(2):
        follower.look()
        clock.now_s += QUIET_S
    follower.look()
    assert messages(server) == [f"{AT} a", f"{AT} b", f"{AT} without an end", f"{AT} c"]


def test_what_is_written_to_a_file_after_its_rotation_is_pushed_too(
    follow: Follow, server: Contract, file: Path, clock: Clock
) -> None:
    """Who writes to it is told of the rotation a moment later."""
    append(file, f"{AT} a\n")
    follower = follow(str(file))
    follower.look()
    with file.open("a") as out:
        file.rename(file.with_suffix(".log.1"))
        append(file, f"{AT} new\n")
        follower.look()
        out.write(f"{AT} late\n{AT} later\n")
        out.flush()
        follower.look()
        clock.now_s += LINGER_S
        follower.look()
    assert sorted(messages(server)) == [f"{AT} {text}" for text in ("a", "late", "later", "new")]
    clock.now_s += LINGER_S + 1
    follower.look()
    append(file.with_suffix(".log.1"), f"{AT} much later\n")
    follower.look()
    assert len(messages(server)) == 4, "it was let go"


def test_a_file_that_is_copied_and_truncated_begins_anew(
    follow: Follow, server: Contract, file: Path, clock: Clock
) -> None:
    append(file, f"{AT} a\n{AT} b\n")
    follower = follow(str(file))
    follower.look()
    clock.now_s += QUIET_S
    follower.look()
    os.truncate(file, 0)
    follower.look()
    append(file, f"{AT} c\n")
    follower.look()
    clock.now_s += QUIET_S
    follower.look()
    assert messages(server) == [f"{AT} a", f"{AT} b", f"{AT} c"]


def test_a_file_that_goes_away_is_read_to_its_end(follow: Follow, server: Contract, file: Path) -> None:
    append(file, f"{AT} a\n")
    follower = follow(str(file))
    follower.look()
    append(file, f"{AT} b\n")
    file.unlink()
    follower.look()
    follower.look()
    assert messages(server) == [f"{AT} a", f"{AT} b"]


def test_the_next_push_goes_on_where_following_ended(
    follow: Follow, ess: Ess, server: Contract, file: Path, clock: Clock
) -> None:
    append(file, f"{AT} a\n{AT} b\n")
    follow(str(file)).look()
    assert ess("push", str(file)).exit_code == 0
    assert messages(server) == [f"{AT} a", f"{AT} b"]
    again = follow(str(file), again=True)
    for _ in range(3):
        again.look()
        clock.now_s += QUIET_S
    assert messages(server) == [f"{AT} a", f"{AT} b"] * 2


def test_a_system_that_is_away_is_tried_again_and_one_that_refuses_is_not(
    follow: Follow, server: Contract, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(Client.call_patiently.__kwdefaults__, "for_s", 0.0)
    append(file, f"{AT} a\n{AT} b\n")
    follower = follow(str(file))
    server.refusals = [JSONResponse({"detail": "away"}, 503, headers={"Retry-After": "0"})] * 50
    first, second = follower.patient_look(), follower.patient_look()
    assert second > first
    assert messages(server) == []
    server.refusals = []
    assert follower.patient_look() < first
    assert messages(server) == [f"{AT} a"]
    append(file, f"{AT} c\n")
    server.refusals = [problem(415, "no such encoding")]
    with pytest.raises(EssError, match="no such encoding"):
        follower.patient_look()


def test_what_is_no_text_is_left_out(follow: Follow, server: Contract, file: Path) -> None:
    file.with_name("picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    append(file, f"{AT} a\n{AT} b\n")
    follower = follow(str(file), str(file.parent / "*.png"))
    follower.look()
    follower.look()
    assert messages(server) == [f"{AT} a"]


def test_standard_input_is_not_followed(ess: Ess) -> None:
    assert ess("push", "-", "--follow", stdin="").exit_code == 2

"""`ess alerts` against the application itself: what is sent, what is printed, what the exit codes say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from starlette.applications import Starlette
from starlette.routing import Mount

from ess_ray.cli import main
from tests.alerting import rule
from tests.http_server import serving
from tests.unit.test_alerts_app import Alerted
from tests.worlds import World

Run = Callable[..., Result]


@pytest.fixture
def rig() -> Alerted:
    world = World()
    writer = world.writer()
    rig = Alerted(world, writer)

    async def fill() -> None:
        await writer.assign(range(3))
        await rig.push("failed 1", "failed 2", "fine")

    asyncio.run(fill())
    world.now_us += 1
    return rig


@pytest.fixture
def run(rig: Alerted) -> Iterator[Run]:
    with serving(Starlette(routes=[Mount("/search", rig.app)])) as url:

        def run(*words: str) -> Result:
            return CliRunner().invoke(main, ["alerts", *words, "--url", url])

        yield run


def file_of(folder: Path, *rules: dict[str, Any], **group: Any) -> str:
    file = folder / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": list(rules), **group}]}))
    return str(file)


def test_rules_are_tried_kept_listed_and_removed(run: Run, rig: Alerted, tmp_path: Path) -> None:
    file = file_of(tmp_path, rule(expr="failed", condition="count() > 1"), rule(alert="Low", expr="nowhere"))
    tried = run("test", file)
    assert tried.exit_code == 0, tried.output
    assert tried.stdout == "g\tHigh\tyes\t2\t\ng\tLow\tno\t0\t\n"
    assert "High: 2 events arrived from" in tried.stderr
    kept = run("apply", file)
    assert (kept.exit_code, kept.stdout) == (0, "g: 2 rules kept\n")
    asyncio.run(rig.step())
    listed = run("list", "--tz", "UTC")
    assert listed.exit_code == 0, listed.output
    assert listed.stdout.startswith("firing\tHigh\t")
    assert "g / Low: asked at" in listed.stderr
    as_json = json.loads(run("list", "--json").stdout)
    assert [one["state"] for one in as_json["alerts"]] == ["firing"]
    assert run("rm", "g").stdout == "g is removed\n"
    assert run("rm", "g").exit_code == 1


def test_wrong_rules_are_usage_and_none_is_kept(run: Run, rig: Alerted, tmp_path: Path) -> None:
    good = {"name": "good", "rules": [rule()]}
    bad = {"name": "bad", "rules": [rule(condition="n > 1")]}
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [good, bad]}))
    refused = run("apply", str(file))
    assert refused.exit_code == 2
    assert "group bad, rule 1 (High)" in refused.output
    assert rig.book.groups() == []
    for content in ("", "groups: {}", "groups: [{}]", "a: b", "groups: [\n", "groups: []\nmore: 1"):
        file.write_text(content)
        assert run("apply", str(file)).exit_code == 2
    file.write_text(yaml.safe_dump({"groups": [good, good]}))
    assert "the same name" in run("apply", str(file)).output


def test_an_incomplete_answer_is_exit_code_3(run: Run, rig: Alerted, tmp_path: Path) -> None:
    async def none(*_: Any, **__: Any) -> list[Any]:
        return []

    rig.in_flight.views = none  # type: ignore[method-assign, assignment]
    file = file_of(tmp_path, rule())
    tried = run("test", file)
    assert tried.exit_code == 3
    assert "High: incomplete: virtual node" in tried.stderr
    assert run("apply", file).exit_code == 0
    asyncio.run(rig.step())
    listed = run("list")
    assert listed.exit_code == 3
    assert "and so as before" in listed.stderr


def test_silences_are_made_listed_and_ended(run: Run) -> None:
    made = run("silence", 'alertname=High, host=~"web.*"', "--for", "2h", "--comment", "known")
    assert made.exit_code == 0, made.output
    silence_id = made.stdout.split()[0]
    listed = run("silences", "--tz", "UTC").stdout
    assert listed.startswith(f"{silence_id}\tyes\t")
    assert 'alertname="High", host=~"web.*"\tknown' in listed
    assert run("unsilence", silence_id).exit_code == 0
    assert json.loads(run("silences", "--json").stdout)["silences"][0]["active"] is False
    assert run("silence", "nonsense", "--for", "2h").exit_code == 2
    assert run("silence", "a=b", "--for", "soon").exit_code == 2

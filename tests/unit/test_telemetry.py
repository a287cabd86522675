"""Log output: JSON lines that are events themselves, plain where asked for, set up once."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ess_ray.telemetry import LOGGERS, RotatedLog, context, current, setup, setup_worker, worker_variables


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(logger, list(logger.handlers), logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, handlers, level, propagate in before:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


def test_a_line_is_an_event() -> None:
    out = io.StringIO()
    setup(stream=out)
    setup(stream=out)
    try:
        raise ValueError("inner")
    except ValueError:
        logging.getLogger("ess_ray.ingest").exception("flush %d failed", 3, extra={"vnode": 4, "why": {1: object}})
    logging.getLogger("ess_ray").debug("not shown")
    lines = out.getvalue().splitlines()
    assert len(lines) == 1
    line = json.loads(lines[0])
    assert (line["level"], line["service"], line["message"]) == ("ERROR", "ess_ray.ingest", "flush 3 failed")
    assert line["vnode"] == 4
    assert line["timestamp"].endswith("Z")
    assert "ValueError: inner" in line["exception"]


def test_plain_lines_and_levels() -> None:
    out = io.StringIO()
    setup("DEBUG", as_json=False, stream=out)
    logging.getLogger("deployments.app").debug("shown")
    assert out.getvalue().rstrip().endswith("DEBUG   deployments.app: shown")


async def test_context_goes_into_lines_tasks_and_threads() -> None:
    out = io.StringIO()
    setup(stream=out)

    async def inner() -> None:
        await asyncio.to_thread(logging.getLogger("ess_ray.search").info, "in a thread")

    with context(query_id="q", tenant="t"):
        with context(task="s"):
            task = asyncio.create_task(inner())
        assert current() == {"query_id": "q", "tenant": "t"}
    await task
    logging.getLogger("ess_ray.search").info("outside")
    inside, outside = [json.loads(line) for line in out.getvalue().splitlines()]
    assert (inside["query_id"], inside["tenant"], inside["task"]) == ("q", "t", "s")
    assert "query_id" not in outside
    setup(as_json=False, stream=out)
    with context(actor="persist-0"):
        logging.getLogger("ess_ray").warning("plain")
    assert out.getvalue().rstrip().endswith("ess_ray: plain [actor=persist-0]")


@pytest.mark.parametrize("log_format", ["auto", "text"])
def test_a_worker_logs_where_its_driver_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log_format: str) -> None:
    file = tmp_path / "a folder" / "system.log"
    file.parent.mkdir()
    file.write_text("the driver's line\n")
    for name, value in worker_variables("WARNING", log_format, file).items():
        monkeypatch.setenv(name, value)
    setup_worker()
    setup_worker()
    logging.getLogger("ess_ray.runtime").info("too quiet")
    logging.getLogger("ess_ray.runtime").warning("heard")
    first, second = file.read_text().splitlines()
    assert first == "the driver's line"
    assert second.startswith("{") is (log_format == "auto")
    assert "heard" in second


def test_without_a_driver_nothing_is_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("_ESS_WORKER_LOG", raising=False)
    before = list(logging.getLogger("ess_ray").handlers)
    setup_worker()
    assert logging.getLogger("ess_ray").handlers == before


def test_the_log_is_bounded_and_every_writer_follows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, before = tmp_path / "system.log", tmp_path / "system.log.1"
    for name, value in worker_variables("INFO", "text", file).items():
        monkeypatch.setenv(name, value)
    setup_worker(follow_s=0.0)
    stdout = os.open(file, os.O_WRONLY | os.O_APPEND)
    silent = os.open(file, os.O_WRONLY | os.O_APPEND)
    other = os.open(tmp_path / "elsewhere", os.O_WRONLY | os.O_CREAT)
    try:
        log = RotatedLog(file, max_bytes=1000)
        for round_number in range(3):
            logging.getLogger("ess_ray").info("round %d: %s", round_number, "x" * 1000)
            os.write(stdout, b"printed\n")
            assert log.rotate((stdout, other))
            assert f"round {round_number}" in before.read_text()
            assert before.read_text().endswith("printed\n")
            assert file.read_text() == ""
            assert file.stat().st_mode & 0o777 == 0o600
        logging.getLogger("ess_ray").info("after")
        os.write(stdout, b"printed\n")
        assert not log.rotate((stdout, other))
        first, second = file.read_text().splitlines()
        assert first.endswith("after")
        assert second == "printed"
        assert (tmp_path / "elsewhere").read_text() == ""
        assert os.fstat(silent).st_size == 0, "who says nothing must not hold room that nobody sees"
        assert sorted(path.name for path in tmp_path.glob("system.log*")) == ["system.log", "system.log.1"]
    finally:
        os.close(stdout)
        os.close(silent)
        os.close(other)


def test_without_a_log_file_there_is_nothing_to_rotate(tmp_path: Path) -> None:
    assert not RotatedLog(tmp_path / "system.log").rotate()


def test_a_line_that_a_full_disk_cut_is_not_glued_to_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "system.log"
    for name, value in worker_variables("INFO", "json", file).items():
        monkeypatch.setenv(name, value)
    setup_worker()
    write = os.write
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:10]))
        logging.getLogger("ess_ray").info("cut")
    logging.getLogger("ess_ray").info("whole")
    logging.getLogger("ess_ray").info("too")
    cut, whole, too = file.read_text().splitlines()
    assert len(cut) == 10
    assert json.loads(whole)["message"] == "whole"
    assert json.loads(too)["message"] == "too"

"""Log output: JSON lines that are events themselves, plain where asked for, set up once."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from ess_ray.telemetry import LOGGERS, setup


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

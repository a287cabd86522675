"""Log output of our own processes: plain lines on a terminal, one JSON object a line elsewhere.

May live here: how the standard `logging` is set up. May not: metrics, or what is worth logging.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final, TextIO

import orjson

from ess_ray.core.event import format_timestamp

LOGGERS: Final = ("ess_ray", "deployments")
"""The loggers that are ours: other libraries keep what they are set to."""
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line, with the field names of an event: the system's own log can be pushed into it.

    `extra` values become fields; what is no JSON value is written as its text.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "timestamp": format_timestamp(round(record.created * 1_000_000)),
            "level": record.levelname,
            "service": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def setup(level: str = "INFO", *, as_json: bool | None = None, stream: TextIO | None = None) -> None:
    """Send our loggers' output to `stream` (standard error). `as_json` None: JSON unless it is a terminal.

    Idempotent: a second call replaces what the first set up.
    """
    target = stream if stream is not None else sys.stderr
    plain = target.isatty() if as_json is None else not as_json
    handler = logging.StreamHandler(target)
    handler.set_name("ess_ray")
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s") if plain else JsonFormatter()
    )
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [other for other in logger.handlers if other.get_name() != "ess_ray"] + [handler]
        logger.setLevel(level)
        logger.propagate = False

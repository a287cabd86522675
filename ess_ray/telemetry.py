"""Log output of our own processes: plain lines on a terminal, one JSON object a line elsewhere."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final, TextIO

import orjson

from ess_ray.core.timestamps import format_timestamp

LOGGERS: Final = ("ess_ray", "deployments")
"""The loggers that are ours: other libraries keep what they are set to."""
WORKER_VARIABLE: Final = "_ESS_WORKER_LOG"
"""How the driver tells Ray's workers, which inherit its environment: `LEVEL FORMAT FILE`."""
MAX_LOG_BYTES: Final = 64 * 1024 * 1024
"""Of the log file, and as much again of the one before: some 400,000 lines, days of a system that has trouble."""
FOLLOW_S: Final = 1.0
"""How often size and name of the log file are looked at: in so long the busiest system writes some megabytes."""
_context: ContextVar[Mapping[str, Any]] = ContextVar("_context", default={})  # noqa: B039 (never changed in place)
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


@contextmanager
def context(**fields: Any) -> Iterator[None]:
    """Add fields (`query_id`, `tenant`, `actor`, `task`) to every line logged within, in its tasks and threads too."""
    token = _context.set({**_context.get(), **fields})
    try:
        yield
    finally:
        _context.reset(token)


def current() -> Mapping[str, Any]:
    """Give the fields of the context, to hand them to another process."""
    return _context.get()


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
        line |= _context.get()
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


class TextFormatter(logging.Formatter):
    """A line for people, its context behind it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{name}={value}" for name, value in _context.get().items())
        return super().formatMessage(record) + (f" [{fields}]" if fields else "")


class _Appender(logging.Handler):
    """Appends each line to a file in one write, so that the lines of many processes never mix.

    Follows `RotatedLog`: when another file has the name, that one is written.
    """

    def __init__(self, file: Path, follow_s: float) -> None:
        super().__init__()
        self._follow_s = follow_s
        self._file, self._looked_s, self._is_cut = file, time.monotonic(), False
        self._descriptor = _open_log(file)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._follow()
            line = (b"\n" if self._is_cut else b"") + self.format(record).encode("utf-8", "backslashreplace") + b"\n"
            self._is_cut = True  # a full disk takes a part of a line, or none: the next one must not be glued to it
            self._is_cut = os.write(self._descriptor, line) < len(line)
        except Exception:  # noqa: BLE001 (as logging's own handlers do)
            self.handleError(record)

    def _follow(self) -> None:
        now_s = time.monotonic()
        if now_s - self._looked_s < self._follow_s:
            return
        self._looked_s = now_s
        with suppress(FileNotFoundError):  # between its two names
            if not os.path.samestat(os.stat(self._file), os.fstat(self._descriptor)):
                os.close(self._descriptor)
                self._descriptor = _open_log(self._file)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        super().close()


def _open_log(file: Path) -> int:
    return os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


class RotatedLog:
    """A log file that many processes append to, bounded: beyond `max_bytes` it becomes `NAME.1`, in place of the last.

    One process rotates, the one whose standard output and error are the file; `setup_worker`'s handlers follow.
    """

    def __init__(self, file: Path, max_bytes: int = MAX_LOG_BYTES) -> None:
        self._file, self._max_bytes = file, max_bytes

    def start(self) -> None:
        """Look at the file every FOLLOW_S from a daemon thread, as long as the process lives."""
        threading.Thread(target=self._run, name="log rotation", daemon=True).start()

    def _run(self) -> None:
        told = False
        while True:
            time.sleep(FOLLOW_S)
            try:
                self.rotate()
                told = False
            except OSError as error:
                if not told:
                    logging.getLogger(__name__).warning("%s cannot be rotated: %s", self._file, error)
                told = True

    def rotate(self, outputs: Sequence[int] = (1, 2)) -> bool:
        """Begin a new file if this one is large enough, and point those of `outputs` to it that wrote the old one.

        Raises OSError.
        """
        try:
            found = os.stat(self._file)
        except FileNotFoundError:
            return False
        if found.st_size < self._max_bytes:
            return False
        mine = [output for output in outputs if os.path.samestat(os.fstat(output), found)]
        before = self._file.with_name(f"{self._file.name}.1")
        with suppress(FileNotFoundError):
            os.truncate(before, 0)  # a process that has long been silent may hold it open: its room comes back now
        self._file.replace(before)
        descriptor = _open_log(self._file)
        try:
            for output in mine:
                os.dup2(descriptor, output)
        finally:
            os.close(descriptor)
        return True


def worker_variables(level: str, log_format: str, file: Path) -> dict[str, str]:
    """Give what must stand in the environment so that `setup_worker` logs as the driver does, to `file`."""
    return {WORKER_VARIABLE: f"{level} {'json' if log_format == 'auto' else log_format} {file}"}


def setup_worker(follow_s: float = FOLLOW_S) -> None:
    """Set up a Ray worker's log as its driver said: into the driver's file, or where that is not (another machine), to
    standard error, which Ray keeps with its session's logs. Idempotent; nothing where no driver said anything.

    `follow_s`: how often the file is looked for, whether another one has its name now."""
    level, _, rest = os.environ.get(WORKER_VARIABLE, "").partition(" ")
    log_format, _, file = rest.partition(" ")
    if not file:
        return
    as_json = log_format == "json"
    if Path(file).parent.is_dir():
        _install(_Appender(Path(file), follow_s), level, as_json)
    else:
        setup(level, as_json=as_json)


def setup(level: str = "INFO", *, as_json: bool | None = None, stream: TextIO | None = None) -> None:
    """Send our loggers' output to `stream` (standard error). `as_json` None: JSON unless it is a terminal.

    Idempotent: a second call replaces what the first set up.
    """
    target = stream if stream is not None else sys.stderr
    plain = target.isatty() if as_json is None else not as_json
    handler = logging.StreamHandler(target)
    _install(handler, level, not plain)


def _install(handler: logging.Handler, level: str, as_json: bool) -> None:
    handler.set_name("ess_ray")
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    for name in LOGGERS:
        logger = logging.getLogger(name)
        for other in logger.handlers:
            if isinstance(other, _Appender):
                other.close()
        logger.handlers = [other for other in logger.handlers if other.get_name() != "ess_ray"] + [handler]
        logger.setLevel(level)
        logger.propagate = False

"""Which lines go on with the event before: stack traces of Java, .NET, Node.js, Python, Go, Ruby and PHP.

A line goes on only when it is surely a part of a trace. What begins one (an exception's name, `Traceback`, `panic:`)
belongs to the log line before it, where that is one, since loggers write it there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Protocol


class Joiner(Protocol):
    """Tells where an event ends: `begin` with its first line, then each one after it."""

    def begin(self, text: str) -> None: ...

    def takes(self, text: str) -> bool | None:
        """Tell whether a line goes on with the event. None: it does if the line after it does."""
        ...


_RECORD: Final = re.compile(
    r"\d\d:\d\d:\d\d|\b(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL|SEVERE)\b|[IWEF]\d{4} ", re.ASCII
)
_RECORD_CHARS: Final = 120
"""A line with a time or a level near its start was written by a logger."""
_FRAME: Final = re.compile(
    r"\s+at .*(?:\(.*\)|:\d+(?::\d+)?\)?|\bin .+:line \d+|\bin <[\da-f]+>:\d+)\s*(?:~?\[.*\])?$"  # Java, Node.js, .NET
    r"|\s+at [\w.`$<>\[\]]+\(.*\)$|\s*\.\.\. \d+ (?:more|common frames omitted)|\s*(?:Caused by|Suppressed): "
    r"|\s*--- End of .*---\s*$|\s*---> |\s+-- locked <|\s+- (?:locked|waiting|parking)\b"
)
_EXCEPTION: Final = re.compile(
    r"(?:[a-zA-Z_$][\w$]*\.)+(?:[A-Z][\w$]*)?(?:Exception|Error|Throwable|Fault)\b"
    r"|(?:[A-Z]\w*)?(?:Error|Exception)(?: \[\w+\])?: "
)
"""An exception's name as loggers write it; what a runtime says of one that nobody caught begins an event."""
_TRACEBACK: Final = re.compile(r"\s*(?:\+ Exception Group )?Traceback \(most recent call last\):")
_DURING: Final = re.compile(
    r"During handling of the above exception, another|The above exception was the direct cause of"
)
_RAISED: Final = re.compile(r"[A-Za-z_][\w.]*(?:: |:?$)")
_GO_START: Final = re.compile(r"(?:^|: |\t)(?:panic: |fatal error: |panic serving )")
_GO: Final = re.compile(
    r"goroutine \d+ |\[signal |created by |exit status \d|\t|\s+panic: |runtime: "
    r"|[\w./*()\[\]{}\-·,&~%]+\(.*\)$"
)
_GOROUTINE: Final = re.compile(r"goroutine \d+ (?:gp=\S+ m=\S+ )?\[")
_GO_FUNCTION: Final = re.compile(r"[\w./\-]+\.(?:\(\*?\w+\)\.)?[\w.]+(?:\[\.\.\.\])?(?:\(.*\))?$")
_GO_PLACE: Final = re.compile(r"\t\S+:\d+")
"""What zap and others write behind a line: a function, and where it is, in turns."""
_RUBY_FROM: Final = re.compile(r"\s+(?:\d+: )?from .+:\d+:in ")
_RUBY_LINE: Final = re.compile(r"\s*[\w./+-]+\.(?:rb|erb|ru|rake):\d+:in [`'][^`']*'$")
_NODE_START: Final = re.compile(r"(?:file://|node:)?[/\w][^\s:]*:\d+$")
_NODE: Final = re.compile(r"\s+\S|\w*(?:Error|Exception)\b|Node\.js v|\}|throw ")
_PHP_STACK: Final = re.compile(r"(?:PHP )?Stack trace:$")
_PHP: Final = re.compile(r"(?:PHP )?\s*(?:#?\d+\.? .*(?:\(|\{main\})|thrown in )")
_NODE_CODE_LINES: Final = 2
"""Behind the place that Node.js names stands the line of code, which may look like anything, and a caret below it."""


class Traces:
    """Joins stack traces."""

    def __init__(self) -> None:
        self._state = ""
        self._is_record = self._is_during = self._is_function = False
        self._lines = 0

    def begin(self, text: str) -> None:
        self._lines = 1
        self._is_record = _RECORD.search(text, 0, _RECORD_CHARS) is not None
        self._is_during = self._is_function = False
        self._state = (
            _python_state(text) if _TRACEBACK.match(text) else "go" if _GO_START.search(text, 0, _RECORD_CHARS) else
            "go" if _GOROUTINE.match(text) else "node" if _NODE_START.match(text) else
            "frames" if _FRAME.match(text) else ""
        )  # fmt: skip

    def takes(self, text: str) -> bool | None:
        self._lines += 1
        if not text.strip():
            return None if self._state in ("python end", "go", "node", "ruby") else False
        ways: dict[str, Callable[[str], bool]] = {
            "python": self._in_python,
            "python group": lambda line: line[0].isspace(),
            "python end": self._after_python,
            "go": self._in_go,
            "node": self._in_node,
            "php": lambda line: _PHP.match(line) is not None,
        }
        follows = ways.get(self._state)
        if (follows is not None and follows(text)) or self._begins(text):
            return True
        was_function, self._is_function = self._is_function, False
        if was_function and _GO_PLACE.match(text):
            self._state = "go calls"
            return True
        if self._is_record and self._state in ("", "go calls") and _GO_FUNCTION.match(text):
            self._is_function = True
            return None
        return False

    def _begins(self, text: str) -> bool:
        """Tell whether a line begins a trace of the event, or is one that no event begins with."""
        if _FRAME.match(text):
            self._state = "frames"
        elif _RUBY_FROM.match(text) or (self._state in ("", "ruby") and self._takes_ruby(text)):
            self._state = "ruby"
        elif not self._is_record or self._state:
            return False
        elif _TRACEBACK.match(text):
            self._state = _python_state(text)
        elif _GOROUTINE.match(text):
            self._state = "go"
        elif _PHP_STACK.match(text):
            self._state = "php"
        elif _EXCEPTION.match(text):
            self._state = "frames"
        else:
            return False
        return True

    def _takes_ruby(self, text: str) -> bool:
        return (self._is_record or self._state == "ruby") and _RUBY_LINE.match(text) is not None

    def _in_python(self, text: str) -> bool:
        if text[0].isspace() or _TRACEBACK.match(text):
            return True
        self._state = "python end"
        return _RAISED.match(text) is not None

    def _after_python(self, text: str) -> bool:
        if _DURING.match(text):
            self._is_during = True
            return True
        if self._is_during and _TRACEBACK.match(text):
            self._state, self._is_during = "python", False
            return True
        return False

    def _in_go(self, text: str) -> bool:
        return _GO.match(text) is not None

    def _in_node(self, text: str) -> bool:
        return self._lines <= 1 + _NODE_CODE_LINES or _NODE.match(text) is not None


def _python_state(traceback: str) -> str:
    return "python group" if traceback.lstrip().startswith("+") else "python"


class Indented(Traces):
    """Joins stack traces, and lines that begin with a tab: so PostgreSQL goes on with a statement."""

    def takes(self, text: str) -> bool | None:
        return text.startswith("\t") or super().takes(text)

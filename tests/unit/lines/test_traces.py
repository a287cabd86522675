"""Stack traces are one event, and what is none is not taken into one; several lines by a pattern; caps."""

from __future__ import annotations

from datetime import UTC

import pytest

from ess_ray.core.errors import BadRequest
from ess_ray.core.event import MAX_EVENT_BYTES
from ess_ray.intake.lines.joining import Caps
from ess_ray.intake.lines.parser import Parser
from ess_ray.intake.lines.raw import cut_lines
from ess_ray.intake.lines.times import LineReader

AT = "2026-11-24 10:00:00"
BARE = f"""{AT} ERROR failed
java.lang.Exception: y
\tat a.B.c(B.java:1)"""
JAVA = f"""{AT} ERROR failed
com.example.PayException: no money
\tat com.example.Pay.run(Pay.java:42)
\tat com.example.Pay$$Lambda$14/0x01.run(Unknown Source)
\t... 12 common frames omitted
Caused by: java.lang.Exception: reset
\tat com.example.Net.read(Net.java:7)
\tSuppressed: java.lang.Exception: closing
\t\tat com.example.Net.close(Net.java:9)
\t... 2 more"""
PYTHON = f"""{AT} ERROR failed
Traceback (most recent call last):
  File "/app/a.py", line 7, in pay
    charge()
    ~~~~~~^^
KeyError

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/app/a.py", line 9, in pay
    report()
shop.ReportError: no network"""
PYTHON_GROUP = f"""{AT} ERROR failed
  + Exception Group Traceback (most recent call last):
  |   File "a.py", line 1, in <module>
  | ExceptionGroup: two (1 sub-exception)
  +-+---------------- 1 ----------------
    | ValueError: one
    +------------------------------------"""
GO = """panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x48f2e1]

goroutine 1 [running]:
main.(*Shop).Pay(0x0, {0x1, 0x2})
\t/app/shop.go:42 +0x1d
main.main()
\t/app/main.go:7 +0x25
created by main.start in goroutine 7
\t/app/main.go:3 +0x11
exit status 2"""
GO_HTTP = """2026/11/24 10:00:00 http: panic serving 127.0.0.1:4711: boom
goroutine 7 [running]:
net/http.(*conn).serve.func1()
\t/usr/lib/go/src/net/http/server.go:1868 +0xb9"""
ZAP = f"""{AT} ERROR failed
github.com/example/shop.(*Pay).Run
\t/app/pay.go:42
main.main
\t/app/main.go:7"""
NODE = """/app/index.js:3
throw new TypeError('x', { cause: e })
^

TypeError: x
    at Object.<anonymous> (/app/index.js:3:7)
    at async Promise.all (index 0)
    at node:internal/main/run_main_module:28:49 {
  [cause]: Error: y
      at /app/index.js:2:11
}

Node.js v20.11.0"""
NODE_LOGGED = f"""{AT} ERROR failed
Error: Cannot read properties of undefined (reading 'x')
    at pay (/app/pay.js:3:7)"""
NET = """Unhandled exception. System.AggregateException: One or more errors occurred. (boom)
 ---> System.InvalidOperationException: boom
   at Shop.Pay.Run(Int32 count) in /app/Pay.cs:line 42
   at Shop.Main()
   --- End of inner exception stack trace ---
   at System.Threading.Tasks.Task.Wait()"""
RUBY = """app.rb:3:in `pay': no money (RuntimeError)
\tfrom app.rb:7:in `block in <main>'
\t 2: from app.rb:9:in `<main>'"""
PHP = """[24-Nov-2026 10:00:00 UTC] PHP Fatal error:  Uncaught Exception: x in /app/a.php:3
Stack trace:
#0 /app/a.php(7): pay()
#1 {main}
  thrown in /app/a.php on line 3"""


def texts(content: str, form: str = "text", multiline: str | None = None, caps: Caps | None = None) -> list[str]:
    parser = Parser(form, LineReader(1_796_000_000_000_000, UTC), multiline=multiline, caps=caps)
    return [group.text for group in parser.groups(cut_lines([content.encode()]))]


@pytest.mark.parametrize(
    "trace", [BARE, JAVA, PYTHON, PYTHON_GROUP, GO, GO_HTTP, ZAP, NODE, NODE_LOGGED, NET, RUBY, PHP], ids=range(12)
)
def test_a_trace_is_one_event(trace: str) -> None:
    for before, after in ((f"{AT} INFO before", f"{AT} INFO after"), ("before", "after"), (trace, trace)):
        assert texts("\n".join([before, trace, after])) == [before, trace, after]
    assert texts(trace) == [trace]
    assert texts(trace, "lines") == trace.split("\n")


@pytest.mark.parametrize(
    "lines",
    [
        ["a", "  indented"],
        [f"{AT} INFO a", "b"],
        ["a", "", "b"],
        [f"{AT} INFO a", "  at home"],
        ["a", "\tat the end (of it all), maybe"],
        [f"{AT} ERROR a", "Traceback (most recent call last): no", f"{AT} INFO b"][:1],
        ["no record", "java.lang.Exception: x"],
        ["foo.bar", "baz"],
        [f"{AT} INFO a", "foo.bar", "baz"],
    ],
)
def test_other_lines_are_events_of_their_own(lines: list[str]) -> None:
    assert texts("\n".join(lines)) == lines


def test_a_pattern_says_what_begins_an_event() -> None:
    content = "0 first\n> a\nb\n\nc\n\n> d\n"
    assert texts(content, multiline="^> ") == ["0 first", "> a\nb\n\nc", "", "> d"]
    assert texts(content, "lines", multiline="^> ") == ["0 first", "> a\nb\n\nc", "", "> d"]


def test_a_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(BadRequest, match="RE2"):
        texts("a\nb", multiline="(?<=a)b")
    for pattern in ("(", r"\d+ unnamed", "(unnamed)"):
        with pytest.raises(BadRequest, match="name each part"):
            Parser("text", LineReader(0, UTC), pattern=pattern)


def test_a_pattern_says_what_is_taken_out_of_a_line() -> None:
    parser = Parser("text", LineReader(0, UTC), pattern=r"^(?P<time>\S+ \S+) (?P<level>\w+) (?P<job>\S*)/(?P<n>\d+)")
    content = b"2026-11-24 10:00:00 warn shop/42 a\nnone\n2026-11-24 10:00:01 info /007"
    found = [parser.read(group) for group in parser.groups(cut_lines([content]))]
    assert [(one.kind, one.event) for one in found] == [
        (
            "event",
            {
                "message": "2026-11-24 10:00:00 warn shop/42 a",
                "timestamp": 1_795_514_400_000_000,
                "level": "warn",
                "job": "shop",
                "attributes": {"n": 42},
            },
        ),
        ("plain", {"message": "none"}),
        (
            "event",
            {
                "message": "2026-11-24 10:00:01 info /007",
                "timestamp": 1_795_514_401_000_000,
                "level": "info",
                "attributes": {"n": "007"},
            },
        ),
    ]


def test_an_event_has_no_more_lines_and_bytes_than_its_caps() -> None:
    frame = "\tat a.B.c(B.java:1)"
    many = [f"{AT} ERROR a", *[frame] * 7]
    assert [text.count("\n") + 1 for text in texts("\n".join(many), caps=Caps(lines=3))] == [3, 3, 2]
    assert [len(text) <= 50 for text in texts("\n".join(many), caps=Caps(bytes=50))] == [True] * 4
    long = "x" * (MAX_EVENT_BYTES + 1)
    assert texts(f"{AT} ERROR a\n{long}\n{frame}") == [f"{AT} ERROR a", "", frame]


def test_what_may_go_on_is_kept_back() -> None:
    parser = Parser("text", LineReader(0, UTC))
    groups = list(parser.groups(cut_lines([b"a\nb\n\tat x.Y.z(Y.java:1)\n"]), may_go_on=True))
    assert [group.text for group in groups] == ["a"]

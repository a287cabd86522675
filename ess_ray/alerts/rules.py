"""Groups of rules as they are written, in the shape that Prometheus users know, read into frozen values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, Literal, get_args

import orjson

from ess_ray.alerts.condition import DEFAULT, Condition, read_condition
from ess_ray.core.errors import BadRequest
from ess_ray.core.statistics import Statistic
from ess_ray.language import Fields, Patterns, Pipe, Stats, parse, parse_length_us, parse_pipe

MissingData = Literal["ok", "alert", "keep"]
MISSING_DATA: Final[tuple[MissingData, ...]] = get_args(MissingData)
MAX_RULES: Final = 100
"""In a group, which are evaluated one after the other, each a search."""
MAX_NAME_CHARS: Final = 100
MAX_TEXT_CHARS: Final = 10_000
"""Of a label or an annotation: a page of text."""
MAX_LABELS: Final = 50
MIN_LENGTH_US: Final = 1_000_000
"""Of a window and an interval: a search takes a good part of a second."""
MAX_WINDOW_US: Final = 7 * 86_400_000_000
MAX_INTERVAL_US: Final = 86_400_000_000
DEFAULT_INTERVAL: Final = "1m"
DEFAULT_WINDOW: Final = "5m"
SETTLE_US: Final = 10_000_000
"""What was received is in the log, or refused, so long after at the latest: a push has that deadline."""
COUNT: Final = "count()"
PATTERN: Final = "pattern"
FIRST: Final = "first"
AGE: Final = "age_s"
"""Of a pattern: how many seconds before the end of the window its first row is. It stands for `first`, a time."""
_PATTERN_NUMBERS: Final = {"count": "count", COUNT: "count", "share": "share", AGE: FIRST}
"""What of a pattern can be compared, and the column that it is made of."""
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_NOT_IN_LABELS = re.compile(r"[^a-zA-Z0-9_]", re.ASCII)
_RULE_FIELDS: Final = frozenset(
    {"alert", "expr", "condition", "window", "for", "labels", "annotations", "missing_data"}
)
_GROUP_FIELDS: Final = frozenset({"name", "interval", "rules", "receivers"})


@dataclass(frozen=True)
class Rule:
    """What is asked, when that is an alert, and how it is called. `told`: as it was written."""

    alert: str
    pipe: Pipe
    column: str
    """Of the pipe's table: what the condition is about, or is made of (AGE)."""
    condition: Condition
    window_us: int
    for_us: int
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    missing_data: MissingData
    told: Mapping[str, Any] = field(compare=False)

    @property
    def has_groups(self) -> bool:
        """Whether each row of its answer is an alert of its own."""
        return bool(self.group_columns)

    @property
    def group_columns(self) -> tuple[str, ...]:
        """Name the columns of its table that tell its rows apart."""
        return _group_columns(self.pipe)

    @property
    def meaning(self) -> str:
        """Tell rules apart whose states have nothing to do with each other: another question is another rule."""
        asked = [self.told.get(name) for name in ("expr", "condition", "window", "labels")]
        return sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]

    def arrival_us(self, slot_us: int, interval_us: int) -> tuple[int, int]:
        """Give the window of an evaluation: received from (inclusive) to (exclusive).

        Windows that overlap look up to now: what was received and is not in the log yet is in the next one. Where they
        do not, they end SETTLE_US before, so that nothing falls between two.
        """
        overlap = self.window_us >= interval_us + SETTLE_US
        end_us = slot_us if overlap else slot_us - SETTLE_US
        return end_us - self.window_us, end_us


@dataclass(frozen=True)
class Group:
    """Rules that are evaluated one after the other every `interval_us`; `receivers` None: all of them."""

    name: str
    interval_us: int
    rules: tuple[Rule, ...]
    receivers: tuple[str, ...] | None
    told: Mapping[str, Any] = field(compare=False)

    @property
    def phase_us(self) -> int:
        """When in the interval it is evaluated: groups are spread, and each keeps its place over restarts."""
        return int.from_bytes(sha256(self.name.encode()).digest()[:8]) % self.interval_us

    def slot_us(self, now_us: int) -> int:
        """Give the last moment at which it was to be evaluated."""
        return now_us - (now_us - self.phase_us) % self.interval_us


def read_group(told: Mapping[str, Any]) -> Group:
    """Read a group. Raises BadRequest (QueryError for an `expr`), naming the rule."""
    _check_fields(told, _GROUP_FIELDS, "a group")
    name = check_name(told.get("name"), "a group's name")
    rules = told.get("rules")
    if not isinstance(rules, Sequence) or isinstance(rules, str) or not 1 <= len(rules) <= MAX_RULES:
        raise BadRequest(f"group {name}: `rules` is a list of 1 to {MAX_RULES} rules")
    receivers = told.get("receivers")
    if receivers is not None and not (isinstance(receivers, list) and all(isinstance(one, str) for one in receivers)):
        raise BadRequest(f"group {name}: `receivers` is a list of names; leave it out for all of them")
    interval_us = _length_us(told.get("interval") or DEFAULT_INTERVAL, "interval", MIN_LENGTH_US, MAX_INTERVAL_US)
    found = tuple(_rule_at(at, rule, name) for at, rule in enumerate(rules, 1))
    alike = {rule.meaning + rule.alert for rule in found}
    if len(alike) < len(found):
        raise BadRequest(f"group {name}: two of its rules are the same")
    kept = {**told, "rules": [dict(rule.told) for rule in found]}
    return Group(name, interval_us, found, None if receivers is None else tuple(receivers), kept)


def _rule_at(at: int, told: Any, group: str) -> Rule:
    try:
        if not isinstance(told, Mapping):
            raise BadRequest("it is no mapping with `alert` and `expr`")
        return read_rule(told)
    except BadRequest as error:
        name = told.get("alert") if isinstance(told, Mapping) else None
        where = f"group {group}, rule {at}" + (f" ({str(name)[:MAX_NAME_CHARS]})" if name else "")
        error.message = f"{where}: {error.message}"
        error.args = (error.message,)
        raise


def read_rule(told: Mapping[str, Any]) -> Rule:
    """Read one rule. Raises BadRequest, QueryError."""
    _check_fields(told, _RULE_FIELDS, "a rule")
    alert = check_name(told.get("alert"), "`alert`, its name")
    expr = told.get("expr")
    if not isinstance(expr, str):
        raise BadRequest("`expr` is missing: a query, or one with `| stats ...` or `| patterns` behind it")
    pipe = _pipe_of(expr)
    condition = read_condition(_text(told.get("condition") or DEFAULT, "condition"))
    missing = told.get("missing_data") or "ok"
    if missing not in MISSING_DATA:
        raise BadRequest(f"`missing_data` is one of {', '.join(MISSING_DATA)}")
    labels, annotations = (_texts(told.get(name), name) for name in ("labels", "annotations"))
    kept = {**told, "labels": labels, "annotations": annotations}
    return Rule(
        alert,
        pipe,
        _column_of(condition, pipe),
        condition,
        _length_us(told.get("window") or DEFAULT_WINDOW, "window", MIN_LENGTH_US, MAX_WINDOW_US),
        _length_us(told.get("for") or "0s", "for", 0, MAX_WINDOW_US),
        labels,
        annotations,
        missing,
        kept,
    )


def label_of(field_name: str) -> str:
    """Name the label of a field: Alertmanager knows letters, digits and `_` in them."""
    name = _NOT_IN_LABELS.sub("_", field_name)
    return f"_{name}" if name[:1].isdigit() else name


def check_name(name: Any, what: str) -> str:
    """Give a name that can stand in an address. Raises BadRequest."""
    if not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME_CHARS or not name.isprintable():
        raise BadRequest(f"{what}, is one line of 1 to {MAX_NAME_CHARS} characters")
    if "/" in name or name in (".", ".."):
        raise BadRequest(f"{what}, has no slash, since it stands in addresses")
    return name


def _pipe_of(expr: str) -> Pipe:
    pipe = parse_pipe(expr)
    if pipe is None:
        return Pipe(parse(expr), expr.strip(), Stats((Statistic(COUNT, "count"),), (COUNT,)))
    if isinstance(pipe.first, Stats) and pipe.first.every is not None:
        raise BadRequest("a rule's `window` is its time: leave `every` out of its `expr`")
    labels = [label_of(name) for name in _group_columns(pipe)]
    if len(set(labels)) < len(labels):
        raise BadRequest(f"two of its groups would have the same label ({', '.join(labels)}): group by one of them")
    return pipe


def _group_columns(pipe: Pipe) -> tuple[str, ...]:
    return (PATTERN,) if isinstance(pipe.first, Patterns) else pipe.first.by_names


def _column_of(condition: Condition, pipe: Pipe) -> str:
    """Find the column that a condition is about: by its name, or by its function."""
    first = pipe.first
    columns: Mapping[str, str]
    if isinstance(first, Patterns):
        columns, known = _PATTERN_NUMBERS, "count, share, age_s"
    else:
        pairs = list(zip(first.columns, first.statistics, strict=True))
        columns = {statistic.text: name for name, statistic in pairs[::-1]} | {name: name for name, _ in pairs}
        known = ", ".join(first.columns)
    wanted = _spaceless(condition.column)
    name = columns.get(condition.column) or {_spaceless(one): name for one, name in columns.items()}.get(wanted)
    if name is None:
        raise BadRequest(f'there is no column "{condition.column[:60]}" of numbers to compare: `expr` gives {known}')
    _check_kept(pipe, name)
    return name


def _spaceless(text: str) -> str:
    return re.sub(r"\s", "", text)


def _check_kept(pipe: Pipe, column: str) -> None:
    """Raise BadRequest where a stage leaves out what tells alerts apart, or what is compared."""
    needed = {*_group_columns(pipe), column}
    for step in pipe.steps:
        if isinstance(step, Fields) and not needed <= set(step.names):
            raise BadRequest(f"`| fields` leaves out {', '.join(sorted(needed - set(step.names)))}: a rule needs it")


def _check_fields(told: Mapping[str, Any], known: frozenset[str], what: str) -> None:
    unknown = sorted(str(name)[:60] for name in told if name not in known)
    if unknown:
        raise BadRequest(f"{what} has no {', '.join(unknown)}: there are {', '.join(sorted(known))}")


def _length_us(value: Any, name: str, least_us: int, most_us: int) -> int:
    exact = parse_length_us(value) if isinstance(value, str) else None
    if value in (0, "0"):
        exact = parse_length_us("0s")
    if exact is None or not least_us <= exact <= most_us:
        least, most = f"{least_us / 1e6:g}s", f"{most_us // 86_400_000_000}d"
        raise BadRequest(f"`{name}` is a length of time from {least} to {most}, such as 30s, 5m or 1h30m")
    return int(exact)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise BadRequest(f"`{name}` is text")
    return value


def _texts(value: Any, name: str) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or len(value) > MAX_LABELS:
        raise BadRequest(f"`{name}` is a mapping of at most {MAX_LABELS} names to texts")
    found = {}
    for key, text in value.items():
        if not isinstance(key, str) or _LABEL.fullmatch(key) is None or key == "alertname":
            raise BadRequest(f'"{str(key)[:60]}" among `{name}` is no name: use [a-zA-Z_][a-zA-Z0-9_]*, not alertname')
        if isinstance(text, bool) or not isinstance(text, str | int | float) or len(str(text)) > MAX_TEXT_CHARS:
            raise BadRequest(f"{key} among `{name}` is a text of at most {MAX_TEXT_CHARS:,} characters")
        found[key] = str(text)
    return found

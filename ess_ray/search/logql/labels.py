"""Labels of events, as Loki's clients know them: which columns and attributes they are, and how rows have them.

An event's stream is told by `service_name`, `level`, `detected_level`, `host`, the attributes that the settings name
(`search.loki_labels`), and those that a query's selector names. Everything else that it has is structured metadata.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from ess_ray.core import query as q
from ess_ray.core import regex
from ess_ray.core.aliases import COLUMN_OF
from ess_ray.core.field import MESSAGE
from ess_ray.language.logql import anchored
from ess_ray.language.logql import tree as t

SERVICE: Final = "service_name"
UNKNOWN_SERVICE: Final = "unknown_service"
LEVEL: Final = "level"
DETECTED_LEVEL: Final = "detected_level"
UNKNOWN_LEVEL: Final = "unknown"
LEVELS: Final = frozenset({LEVEL, DETECTED_LEVEL})
"""Labels whose case does not matter."""
_OTHER: Final = re.compile(r"[^A-Za-z0-9_]")

Pairs = tuple[tuple[str, str], ...]
"""Labels and their values, by name."""


@dataclass(frozen=True, slots=True)
class Label:
    """A label, the fields of which an event's first is its value, and the value of an event that has none of them."""

    name: str
    fields: tuple[q.Field, ...]
    absent: str = ""

    @property
    def ignore_case(self) -> bool:
        """Whether its values are alike in any case: levels."""
        return self.name in LEVELS

    def shown(self, value: str | None) -> str:
        """Give a value as it is shown; empty for none."""
        if value is None:
            return self.absent
        return value.lower() if self.name == DETECTED_LEVEL else value


_KNOWN: Final = (
    Label(SERVICE, (q.Field("service"),), UNKNOWN_SERVICE),
    Label(LEVEL, (q.Field("level"),)),
    Label(DETECTED_LEVEL, (q.Field("level"),), UNKNOWN_LEVEL),
    Label("host", (q.Field("host"),)),
)
_KNOWN_NAMES: Final = frozenset(label.name for label in _KNOWN)
_ALIASES: Final = {"service": _KNOWN[0].fields, **{name: (q.Field(name),) for name in ("trace_id", "span_id")}}
"""Names of columns that are no labels: a selector and a filter know them all the same."""


def label_name(key: str) -> str:
    """Give the name that an attribute has in LogQL: what no name may hold becomes `_`."""
    name = _OTHER.sub("_", key)
    return f"_{name}" if name[:1].isdigit() else name


@dataclass(frozen=True)
class Labels:
    """The labels that tell the streams of one query apart."""

    all: tuple[Label, ...]

    @classmethod
    def of(cls, configured: Iterable[str], matchers: Iterable[t.Matcher] = ()) -> Labels:
        """Give the labels of a query, by the attributes that settings name and what its selector names."""
        found = {label.name: label for label in _KNOWN}
        for key in configured:
            name = label_name(key)
            if name not in _KNOWN_NAMES:
                before = found[name].fields if name in found else ()
                found[name] = Label(name, (*before, q.Field(key, attribute=True)))
        for matcher in matchers:
            if matcher.name not in _KNOWN_NAMES and matcher.name not in _ALIASES:
                before = found[matcher.name].fields if matcher.name in found else ()
                fields = (*before, *(one for one in _fields_of(matcher.name) if one not in before))
                found[matcher.name] = Label(matcher.name, fields)
        return cls(tuple(found.values()))

    @property
    def by_name(self) -> Mapping[str, Label]:
        """Give the labels by their names."""
        return {label.name: label for label in self.all}

    def stream_label(self, name: str) -> Label | None:
        """Give a label of streams."""
        return next((label for label in self.all if label.name == name), None)

    def named(self, name: str) -> Label:
        """Give a label of streams, or what a selector's name means."""
        return self.stream_label(name) or Label(name, _fields_of(name))

    def lasting(self, name: str) -> Label | None:
        """Give a label that every stream has: one that an event lacks may be found by a parser, and count then."""
        label = self.stream_label(name)
        return label if label is not None and label.absent else None

    def plain(self, name: str) -> Label | None:
        """Give what a name means that is a stream's label, or exactly one field: None where only rows can tell.

        A name with `_` may be an attribute's with dots, or with anything else that no name may hold.
        """
        label = self.stream_label(name)
        if label is not None:
            return label
        if name in _ALIASES:
            return Label(name, _ALIASES[name])
        return None if "_" in name else Label(name, (q.Field(name, attribute=True),))

    def node(self, matchers: Iterable[t.Matcher]) -> q.Node:
        """Give the condition that a selector is."""
        nodes = [matcher_node(self.named(matcher.name), matcher) for matcher in matchers]
        return q.And(tuple(nodes)) if len(nodes) > 1 else nodes[0] if nodes else q.All()


def _fields_of(name: str) -> tuple[q.Field, ...]:
    """Give the fields that a selector's name means: its attribute, also with dots; the column that is sent so."""
    if name in _ALIASES:
        return _ALIASES[name]
    keys = (name, name.replace("_", ".")) if "_" in name else (name,)
    column = next((COLUMN_OF[key] for key in keys if key in COLUMN_OF), None)
    fields = tuple(q.Field(key, attribute=True) for key in keys)
    return fields if column is None else (*fields, q.Field(column))


def matcher_node(label: Label, matcher: t.Matcher) -> q.Node:
    """Give the condition that a label's value matches: of events that have none, its `absent` counts."""
    absent = _passes(matcher, label.absent, label.ignore_case)
    *others, last = label.fields
    node = _test(last, matcher, label.ignore_case)
    if absent:
        node = q.Or((node, q.Not(q.Exists(last))))
    for field in reversed(others):  # the first field that is there counts
        node = q.Or((_test(field, matcher, label.ignore_case), q.And((q.Not(q.Exists(field)), node))))
    return q.Not(node) if matcher.op in ("!=", "!~") else node


def _test(field: q.Field, matcher: t.Matcher, ignore_case: bool) -> q.Node:
    if matcher.op in ("=", "!="):
        return q.Equals(field, matcher.value, ignore_case)
    return q.Regex(field, anchored(matcher.value), ignore_case)


def _passes(matcher: t.Matcher, value: str, ignore_case: bool) -> bool:
    """Tell whether a value equals, or is matched; whether that is asked or denied does not matter."""
    if matcher.op in ("=", "!="):
        return matcher.value.lower() == value.lower() if ignore_case else matcher.value == value
    return bool(regex.find(pa.array([value]), anchored(matcher.value), ignore_case)[0].as_py())


def line_node(asked: t.LineFilter) -> q.Node:
    """Give the condition that a line filter without addresses is, of lines that are events' messages."""
    expressions = asked.expressions
    if expressions is not None:
        tests: tuple[q.Node, ...] = tuple(q.Regex(MESSAGE, one, ignore_case=False) for one in expressions)
    else:
        tests = tuple(q.Contains(MESSAGE, value, ignore_case=False) for value in asked.values)
    node = tests[0] if len(tests) == 1 else q.Or(tests)
    return q.Not(node) if asked.negated else node


def addresses_node(asked: t.LineFilter) -> q.Node | None:
    """Give a condition that every message meets which a line filter with addresses passes; None where there is none."""
    texts = [*asked.values, *(one.literal for one in asked.addresses)]
    return None if asked.negated or not all(texts) else line_node(t.LineFilter("|=", tuple(texts)))


class Rows:
    """Rows of events, read as lines with labels."""

    COLUMNS: Final = ("timestamp", "level", "service", "host", "message", "trace_id", "span_id", "attributes")

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        self._names: dict[str, str] = {}
        self._streams: dict[tuple[Any, ...], dict[str, str]] = {}

    @staticmethod
    def places(table: pa.Table) -> list[tuple[int, ...]]:
        """Give each row's virtual node, offset and row."""
        return list(zip(*(table.column(name).to_pylist() for name in ("vnode", "offset", "row")), strict=True))

    def read(self, table: pa.Table) -> list[tuple[int, str, dict[str, str], dict[str, str]]]:
        """Give of each row: microseconds, line, its stream's labels (shared: not to be changed), its metadata."""
        times = table.column("timestamp").cast(pa.int64()).to_pylist()
        columns = {name: table.column(name).to_pylist() for name in self.COLUMNS[1:]}
        found = []
        for at, us in enumerate(times):
            held = dict(columns["attributes"][at] or ())
            stream, used = self._stream(at, columns, held)
            metadata = {self._name(key): value for key, value in held.items() if key not in used and value is not None}
            for name in ("trace_id", "span_id"):
                if columns[name][at] is not None:
                    metadata[name] = columns[name][at]
            found.append((us, columns["message"][at], stream, metadata))
        return found

    def _name(self, key: str) -> str:
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = label_name(key)
        return name

    def _stream(
        self, at: int, columns: Mapping[str, Sequence[Any]], held: Mapping[str, str]
    ) -> tuple[dict[str, str], set[str]]:
        values, used = [], set()
        for label in self._labels.all:
            value = None
            for field in label.fields:
                value = held.get(field.name) if field.attribute else columns[field.name][at]
                if field.attribute and value is not None:
                    used.add(field.name)
                if value is not None:
                    break
            values.append(label.shown(value))
        key = tuple(values)
        stream = self._streams.get(key)
        if stream is None:
            pairs = zip(self._labels.all, values, strict=True)
            stream = self._streams[key] = {label.name: value for label, value in pairs if value}
        return stream, used

"""Pipelines: stages one after the other, over many lines at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

from ess_ray.core.errors import QueryError
from ess_ray.language.logql import tree as t
from ess_ray.language.logql.template import parse_template
from ess_ray.search.logql.entries import Entry
from ess_ray.search.logql.extracting import parser_of
from ess_ray.search.logql.filtering import Mask, labels_pass, lines_pass, matcher_passes
from ess_ray.search.logql.templates import TEMPLATE_ERROR, Rendered, render

_COLOURS: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")

Step = Callable[[list[Entry]], list[Entry]]


class Pipeline:
    """Stages, ready to be used."""

    def __init__(self, stages: Sequence[t.Stage]) -> None:
        """Raises QueryError for a stage that cannot be."""
        self._steps = [_step(stage) for stage in stages]

    def run(self, entries: list[Entry]) -> list[Entry]:
        """Give the entries that are left, in their order, changed as the stages say."""
        for step in self._steps:
            if not entries:
                break
            entries = step(entries)
        return entries


def _step(stage: t.Stage) -> Step:  # noqa: PLR0911 (one for each kind)
    match stage:
        case t.LineFilter():
            return lambda entries: _kept(entries, lines_pass(stage, entries))
        case t.Json() | t.Logfmt() | t.Regexp() | t.Pattern() | t.Unpack():
            try:
                parse = parser_of(stage)
            except ValueError as error:
                raise QueryError(str(error)) from None
            return partial(_parsed, parse)
        case t.LineFormat(template):
            return partial(_each, partial(_line_format, Rendered(parse_template(template))))
        case t.LabelFormat(parts):
            return partial(_each, partial(_label_format, [_Part(part) for part in parts]))
        case t.Drop(chosen):
            return partial(_drop, chosen)
        case t.Keep(chosen):
            return partial(_keep, chosen)
        case t.Decolorize():
            return partial(_each, _decolorize)
        case _:
            return lambda entries: _kept(entries, labels_pass(stage, entries))


def _kept(entries: list[Entry], passed: Iterable[bool]) -> list[Entry]:
    return [entry for entry, passes in zip(entries, passed, strict=True) if passes]


def _parsed(parse: Callable[[Sequence[Entry]], None], entries: list[Entry]) -> list[Entry]:
    parse(entries)
    return entries


def _each(change: Callable[[Entry], None], entries: list[Entry]) -> list[Entry]:
    for entry in entries:
        change(entry)
    return entries


def _line_format(template: Rendered, entry: Entry) -> None:
    try:
        entry.line = render(template, entry)
    except ValueError as error:
        entry.fail(TEMPLATE_ERROR, str(error))


class _Part:
    def __init__(self, part: t.Relabel) -> None:
        self.label, self.source = part.label, part.source
        self.template = Rendered(parse_template(part.source)) if part.template else None


def _label_format(parts: Sequence[_Part], entry: Entry) -> None:
    for part in parts:
        if part.template is None:
            value = entry.get(part.source)
            if value is not None:
                entry.remove(part.source)
                entry.put(part.label, value)
            continue
        try:
            entry.put(part.label, render(part.template, entry))
        except ValueError as error:
            entry.fail(TEMPLATE_ERROR, str(error))


def _matching(chosen: Sequence[t.Chosen], entries: list[Entry]) -> list[tuple[str, Mask | None]]:
    return [(one.name, None if one.matcher is None else matcher_passes(one.matcher, entries)) for one in chosen]


def _drop(chosen: Sequence[t.Chosen], entries: list[Entry]) -> list[Entry]:
    for name, matches in _matching(chosen, entries):
        for at, entry in enumerate(entries):
            if matches is None or matches[at]:
                entry.remove(name)
    return entries


def _keep(chosen: Sequence[t.Chosen], entries: list[Entry]) -> list[Entry]:
    wanted = _matching(chosen, entries)
    for at, entry in enumerate(entries):
        kept = {name for name, matches in wanted if matches is None or matches[at]}
        for name in [name for name in entry.labels() if name not in kept and not name.startswith("__error")]:
            entry.remove(name)
    return entries


def _decolorize(entry: Entry) -> None:
    if "\x1b" in entry.line:
        entry.line = _COLOURS.sub("", entry.line)

"""What of a log query the search itself answers, and what is left of its pipeline for rows that it finds.

Line filters and filters of labels that are fields become conditions, so that indexes and statistics rule objects out.
What stands behind a stage that changes lines or labels stays in the pipeline.
"""

from __future__ import annotations

from dataclasses import dataclass

from ess_ray.core import query as q
from ess_ray.language.logql import tree as t
from ess_ray.search.logql.labels import Labels, addresses_node, line_node, matcher_node


@dataclass(frozen=True)
class Narrowed:
    """A condition, and the stages that are left: every row that the query wants matches, and passes them."""

    root: q.Node
    rest: tuple[t.Stage, ...]

    @property
    def filters(self) -> bool:
        """Whether what is left leaves lines out."""
        return any(isinstance(stage, t.LineFilter | t.LabelFilter | t.Unpack) for stage in self.rest)

    @property
    def changes_lines(self) -> bool:
        """Whether what is left changes lines."""
        return any(isinstance(stage, t.LineFormat | t.Decolorize | t.Unpack) for stage in self.rest)

    @property
    def parses(self) -> bool:
        """Whether what is left may give labels."""
        return any(isinstance(stage, t.Parser | t.LabelFormat) for stage in self.rest)

    def touches(self, names: frozenset[str]) -> bool:
        """Tell whether what is left may change or take away one of these labels of streams."""
        return any(_touches(stage, names) for stage in self.rest)


def narrowed(query: t.LogQuery, labels: Labels) -> Narrowed:
    """Make conditions of as much of a query as can be said with them."""
    nodes, rest = [labels.node(query.matchers)], []
    same_line = same_labels = True
    changed: set[str] = set()
    for stage in query.stages:
        if isinstance(stage, t.LineFilter) and same_line:
            node = addresses_node(stage) if stage.addresses else line_node(stage)
            if node is not None:
                nodes.append(node)
            if not stage.addresses:
                continue
        if isinstance(stage, t.LabelFilter):
            node = _filter_node(stage, labels, same_labels, changed)
            if node is not None:
                nodes.append(node)
                continue
        rest.append(stage)
        match stage:
            case t.LineFormat() | t.Decolorize():
                same_line = False
            case t.Unpack():
                same_line = same_labels = False
            case t.Json() | t.Logfmt() | t.Regexp() | t.Pattern():
                same_labels = False
            case t.LabelFormat(parts):
                changed |= {part.label for part in parts} | {part.source for part in parts if not part.template}
            case t.Drop(chosen):
                changed |= {one.name for one in chosen}
            case t.Keep():
                changed |= set(labels.by_name)
                same_labels = False
    return Narrowed(nodes[0] if len(nodes) == 1 else q.And(tuple(nodes)), tuple(rest))


def _filter_node(asked: t.LabelFilter, labels: Labels, same_labels: bool, changed: set[str]) -> q.Node | None:
    """Give a label filter as a condition; None where only the pipeline can tell."""
    match asked:
        case t.Matcher(name):
            label = labels.plain(name) if same_labels else labels.lasting(name)
            return None if label is None or name in changed else matcher_node(label, asked)
        case t.AllOf(children) | t.AnyOf(children):
            nodes = [_filter_node(child, labels, same_labels, changed) for child in children]
            known = tuple(node for node in nodes if node is not None)
            if len(known) < len(nodes):
                return None
            return q.And(known) if isinstance(asked, t.AllOf) else q.Or(known)
    return None


def _touches(stage: t.Stage, names: frozenset[str]) -> bool:
    match stage:
        case t.LabelFormat(parts):
            return any(part.label in names or (not part.template and part.source in names) for part in parts)
        case t.Drop(chosen):
            return any(one.name in names for one in chosen)
        case t.Keep(chosen):
            return not names <= {one.name for one in chosen if one.matcher is None}
    return False

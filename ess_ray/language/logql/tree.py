"""LogQL as frozen values: what was asked, before anybody knows how it is answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ess_ray.language.logql.addresses import Addresses
from ess_ray.language.logql.patterns import line_regex

MatchOp = Literal["=", "!=", "=~", "!~"]
LineOp = Literal["|=", "!=", "|~", "!~", "|>", "!>"]
CompareOp = Literal["==", "!=", ">", ">=", "<", "<="]
QuantityKind = Literal["number", "duration", "bytes"]


@dataclass(frozen=True, slots=True)
class Matcher:
    """A label's value is (not) a text, or (not) all matched by a regular expression; one that is absent is empty."""

    name: str
    op: MatchOp
    value: str


@dataclass(frozen=True, slots=True)
class LineFilter:
    """The line holds one of the texts (or matches one of the expressions or patterns), or one of the addresses;
    negated: none of them."""

    op: LineOp
    values: tuple[str, ...]
    addresses: tuple[Addresses, ...] = ()

    @property
    def negated(self) -> bool:
        """Whether lines that match are left out."""
        return self.op in ("!=", "!~", "!>")

    @property
    def expressions(self) -> tuple[str, ...] | None:
        """Give the regular expressions that the values are, or mean; None for texts."""
        if self.op in ("|=", "!="):
            return None
        return tuple(map(line_regex, self.values)) if self.op in ("|>", "!>") else self.values


@dataclass(frozen=True, slots=True)
class Extraction:
    """A label and where its value stands: a path of JSON, a key of logfmt."""

    label: str
    source: str


@dataclass(frozen=True, slots=True)
class Json:
    """`| json`: all fields, or those of the extractions."""

    extractions: tuple[Extraction, ...] = ()


@dataclass(frozen=True, slots=True)
class Logfmt:
    """`| logfmt`: all pairs, or those of the extractions."""

    extractions: tuple[Extraction, ...] = ()
    strict: bool = False
    keep_empty: bool = False


@dataclass(frozen=True, slots=True)
class Regexp:
    """`| regexp`: the named groups of an RE2 expression."""

    pattern: str


@dataclass(frozen=True, slots=True)
class Pattern:
    """`| pattern`: what stands between literals, by name."""

    pattern: str


@dataclass(frozen=True, slots=True)
class Unpack:
    """`| unpack`: what Promtail's pack stage packed."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A label compared with a number: seconds of a duration, bytes, or neither."""

    name: str
    op: CompareOp
    value: float
    kind: QuantityKind


@dataclass(frozen=True, slots=True)
class AddressFilter:
    """One of the addresses stands in a label's value; negated: none of them. One that is absent passes neither."""

    name: str
    negated: bool
    addresses: Addresses


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every one of several label filters passes."""

    children: tuple[LabelFilter, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One of several label filters passes."""

    children: tuple[LabelFilter, ...]


LabelFilter = Matcher | Quantity | AddressFilter | AllOf | AnyOf


@dataclass(frozen=True, slots=True)
class LineFormat:
    """`| line_format`: the line becomes what a template of Go's makes."""

    template: str


@dataclass(frozen=True, slots=True)
class Relabel:
    """One of `| label_format`: another label's value (which goes), or a template's."""

    label: str
    source: str
    template: bool


@dataclass(frozen=True, slots=True)
class LabelFormat:
    """`| label_format`."""

    parts: tuple[Relabel, ...]


@dataclass(frozen=True, slots=True)
class Chosen:
    """A label of `drop` or `keep`; with a matcher only where that matches."""

    name: str
    matcher: Matcher | None = None


@dataclass(frozen=True, slots=True)
class Drop:
    """`| drop`: without these labels."""

    chosen: tuple[Chosen, ...]


@dataclass(frozen=True, slots=True)
class Keep:
    """`| keep`: with these labels alone."""

    chosen: tuple[Chosen, ...]


@dataclass(frozen=True, slots=True)
class Decolorize:
    """`| decolorize`: without ANSI's escapes for colours."""


Parser = Json | Logfmt | Regexp | Pattern | Unpack
Stage = LineFilter | Parser | LabelFilter | LineFormat | LabelFormat | Drop | Keep | Decolorize


@dataclass(frozen=True, slots=True)
class LogQuery:
    """A selector and its pipeline."""

    matchers: tuple[Matcher, ...]
    stages: tuple[Stage, ...] = ()


@dataclass(frozen=True, slots=True)
class Unwrap:
    """`| unwrap`: a label's value becomes the sample's; filters behind it see what could not be read as `__error__`."""

    label: str
    conversion: Literal["duration", "bytes"] | None = None
    filters: tuple[LabelFilter, ...] = ()


@dataclass(frozen=True, slots=True)
class LogRange:
    """The lines of a time before each step: of (t - offset - range, t - offset]. Microseconds."""

    query: LogQuery
    range_us: int
    offset_us: int = 0
    unwrap: Unwrap | None = None


@dataclass(frozen=True, slots=True)
class Grouping:
    """By these labels, or by all but these."""

    names: tuple[str, ...]
    without: bool = False


@dataclass(frozen=True, slots=True)
class RangeFunction:
    """`rate({..}[5m])`: a number for each series and step."""

    name: str
    range: LogRange
    parameter: float | None = None
    grouping: Grouping | None = None


@dataclass(frozen=True, slots=True)
class VectorFunction:
    """`sum by (a) (..)`: series put together; `topk(5, ..)`: the largest of each group."""

    name: str
    inner: Metric
    parameter: float | None = None
    grouping: Grouping | None = None


@dataclass(frozen=True, slots=True)
class Matching:
    """Which labels tell that two series belong together."""

    names: tuple[str, ...]
    on: bool


@dataclass(frozen=True, slots=True)
class ManySide:
    """The side of which several series may belong to one of the other, and labels that each of them takes from it."""

    side: Literal["left", "right"]
    taken: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Binary:
    """Arithmetic, comparison and sets; `as_bool`: a comparison gives 0 or 1 instead of leaving samples out.

    `many`: `group_left` or `group_right`; None: each series belongs to at most one of the other side.
    """

    op: str
    left: Metric
    right: Metric
    as_bool: bool = False
    matching: Matching | None = None
    many: ManySide | None = None


@dataclass(frozen=True, slots=True)
class Scalar:
    """A number."""

    value: float


@dataclass(frozen=True, slots=True)
class Vector:
    """`vector(1)`: a number as a series without labels."""

    value: float


@dataclass(frozen=True, slots=True)
class LabelReplace:
    """`label_replace(v, target, replacement, source, pattern)`."""

    inner: Metric
    target: str
    replacement: str
    source: str
    pattern: str


Metric = RangeFunction | VectorFunction | Binary | Scalar | Vector | LabelReplace
Expression = LogQuery | Metric

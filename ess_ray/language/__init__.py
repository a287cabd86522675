"""The query language: what people type, turned into a frozen tree. The only user of lark.

Two steps. The scanner cuts text into tokens and reads every term (a word, a phrase, a regex, FIELD:value) into a leaf;
where a term starts and what it means depends on what stands before it, which terminals of a grammar say badly. The
grammar then carries the structure: NOT over AND (and juxtaposition) over OR, and parentheses. LALR, no recursion.

- `scanner`: text to tokens.
- `names`: a field's name to the fields that it means.
- `terms`: one term to its leaf.
- `grammar`: tokens to a tree; `parse`.
- `pipes`: stages behind a query, `| stats ... | top 5`. `statistics`: functions in them.
- `writing`: names and terms to text that reads back as them.
- `times`: the bounds of a query, as text.

    timeout  time*out    message contains it, ignoring case; `*` is any text, newlines too
    "Exact text"         message contains it, case kept; `\\"` and `\\\\` are the only escapes
    /user=\\d+/  /x/i      message matches the regex (RE2)
    FIELD:value  FIELD:"value"  FIELD:val*  FIELD:/regex/  FIELD:*  FIELD:>=5  FIELD:[1 TO 5]  FIELD:(a OR b)
    FIELD>=5  "any field":value
    a b  a AND b  a OR b  NOT a  -a  ( )

What the contract leaves open is decided so:
- `FIELD:value` is equality for `message` too; `message:*text*` contains it.
- `name://...`, `name::...` and `name:\\...` are words, whatever the name. `name: text` is words too (as logs have it);
  `name:` with nothing behind it is an error that says: quote it.
- `name>5` is a comparison before a whole number only; `name>5ms` and `name=x` are words.
- `_ess.offset`, `_ess.row`, `_ess.vnode`, `_ess.log_id`, `_ess.event_id` and `_ess.observed_timestamp` are columns of
  ours; `offset` and the like are a client's attributes.
- FIELD:value is equality of text; of numbers, where the field's value was a number when it was pushed (`n:1.5` finds
  1.50), in quotes too. A text with leading zeros is no number.
- FIELD tests an attribute of that name and those called `FIELD#2`, ...; of arrays the text, and the values in them.
- A name under which clients send what is a column (`msg`, `@timestamp`) means that column, or the attribute of this
  name; with `attributes.` before it, the attribute alone.
- A `-` negates at a term's start when a term follows at once; before another `-` or alone it is text (`--verbose`).
- `//` is a word, not an empty regex. Quotes inside a word are text (`{"key":"value"}` is one word).
- FIELD:(...) gives its field to the bare terms inside. `{1 TO 5}` excludes its ends, as in Lucene.
- Values of time columns may be RFC 3339, days (2026-11-24) or epoch numbers by magnitude; without an offset they are
  UTC. They are compared exactly, nanoseconds too.
- A lone surrogate is U+FFFD, as in pushed events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ess_ray.core.later import loads_later

if TYPE_CHECKING:
    from ess_ray.language.grammar import MAX_QUERY_BYTES, parse
    from ess_ray.language.names import field_named, name_of, without_surrogates
    from ess_ray.language.pipes import (
        PATTERN_COLUMNS,
        TIME_COLUMN,
        Fields,
        Limit,
        Patterns,
        Pipe,
        Sort,
        Stats,
        Step,
        parse_pipe,
        parse_statistic,
    )
    from ess_ray.language.scanner import MAX_NESTING, pipe_in
    from ess_ray.language.terms import MAX_PATTERN_CHARS
    from ess_ray.language.times import UNIT_US, parse_length_us, parse_time_us
    from ess_ray.language.writing import field_term, quoted, regex_term
    from ess_ray.language.zones import ABBREVIATIONS, AMBIGUOUS, NoZone, in_zone, zone_behind, zone_named

__all__ = [
    "ABBREVIATIONS",
    "AMBIGUOUS",
    "MAX_NESTING",
    "MAX_PATTERN_CHARS",
    "MAX_QUERY_BYTES",
    "PATTERN_COLUMNS",
    "TIME_COLUMN",
    "UNIT_US",
    "Fields",
    "Limit",
    "NoZone",
    "Patterns",
    "Pipe",
    "Sort",
    "Stats",
    "Step",
    "field_named",
    "field_term",
    "in_zone",
    "name_of",
    "parse",
    "parse_length_us",
    "parse_pipe",
    "parse_statistic",
    "parse_time_us",
    "pipe_in",
    "quoted",
    "regex_term",
    "without_surrogates",
    "zone_behind",
    "zone_named",
]

# Loaded when they are asked for: grammars take a tenth of a second to build, and who reads times needs none.
__getattr__ = loads_later(
    __name__,
    {
        "ess_ray.language.grammar": ("MAX_QUERY_BYTES", "parse"),
        "ess_ray.language.names": ("field_named", "name_of", "without_surrogates"),
        "ess_ray.language.pipes": (
            *("PATTERN_COLUMNS", "TIME_COLUMN", "Fields", "Limit", "Patterns", "Pipe", "Sort", "Stats", "Step"),
            *("parse_pipe", "parse_statistic"),
        ),
        "ess_ray.language.scanner": ("MAX_NESTING", "pipe_in"),
        "ess_ray.language.terms": ("MAX_PATTERN_CHARS",),
        "ess_ray.language.times": ("UNIT_US", "parse_length_us", "parse_time_us"),
        "ess_ray.language.writing": ("field_term", "quoted", "regex_term"),
        "ess_ray.language.zones": ("ABBREVIATIONS", "AMBIGUOUS", "NoZone", "in_zone", "zone_behind", "zone_named"),
    },
)

"""The query language: what people type, turned into a frozen tree. The only user of lark.

Two steps. The scanner cuts text into tokens and reads every term (a word, a phrase, a regex, FIELD:value) into a leaf;
where a term starts and what it means depends on what stands before it, which terminals of a grammar say badly. The
grammar then carries the structure: NOT over AND (and juxtaposition) over OR, and parentheses. LALR, no recursion.

- `scanner`: text to tokens.
- `terms`: one term to its leaf.
- `grammar`: tokens to a tree; `parse`.
- `times`: the bounds of a query, as text.

May live here: text to Node, text to time. May not: matching, defaults of a request.

    timeout  time*out    message contains it, ignoring case; `*` is any text, newlines too
    "Exact text"         message contains it, case kept; `\\"` and `\\\\` are the only escapes
    /user=\\d+/  /x/i      message matches the regex (RE2)
    FIELD:value  FIELD:"value"  FIELD:val*  FIELD:/regex/  FIELD:*  FIELD:>=5  FIELD:[1 TO 5]  FIELD:(a OR b)
    a b  a AND b  a OR b  NOT a  -a  ( )

What the contract leaves open is decided so:
- `FIELD:value` is equality for `message` too; `message:*text*` contains it.
- `name://...` is a word (a URL), whatever the name. `name:` with nothing behind it is an error that says: quote it.
- A `-` negates at a term's start when a term follows at once; before another `-` or alone it is text (`--verbose`).
- `//` is a word, not an empty regex. Quotes inside a word are text (`{"key":"value"}` is one word).
- FIELD:(...) gives its field to the bare terms inside. `{1 TO 5}` excludes its ends, as in Lucene.
- Values of time columns may be RFC 3339 or epoch numbers by magnitude, as in pushed events.
- A lone surrogate is U+FFFD, as in pushed events.
"""

from ess_ray.language.grammar import MAX_QUERY_BYTES, parse
from ess_ray.language.scanner import MAX_NESTING
from ess_ray.language.terms import MAX_PATTERN_CHARS, field_named, without_surrogates
from ess_ray.language.times import UNIT_US, parse_time_us

__all__ = [
    "MAX_NESTING",
    "MAX_PATTERN_CHARS",
    "MAX_QUERY_BYTES",
    "UNIT_US",
    "field_named",
    "parse",
    "parse_time_us",
    "without_surrogates",
]

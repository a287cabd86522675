"""What a text must hold for an RE2 pattern to match it: a simpler pattern over bytes, a superset, as a tree.

RE2's syntax is read as far as we are sure of it; everything else gives None: no prefilter. The tree accepts at least
every text in which RE2 finds the pattern: zero-width assertions are left out, ignored case is spelled out (the long s
and the Kelvin sign too), and whatever depends on Unicode tables becomes "any character beyond ASCII". May live here:
syntax to tree, and what can be told from a tree. May not: engines, rows, or deciding a match.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

ALL_ASCII: Final = frozenset(range(128))
MAX_REPEATS: Final = 64
"""Copies of a repeated part that are told apart; beyond, any number may follow. Engines unroll them."""
_MAX_DEPTH: Final = 100
"""Nested groups: deeper patterns get no prefilter rather than a deep recursion."""


@dataclass(frozen=True, slots=True)
class Bytes:
    """Exactly these bytes."""

    text: bytes


@dataclass(frozen=True, slots=True)
class OneOf:
    """One character: an ASCII byte in the set, or, if `wide`, any character beyond ASCII."""

    ascii: frozenset[int]
    wide: bool


@dataclass(frozen=True, slots=True)
class AnyByte:
    r"""RE2's \C."""


@dataclass(frozen=True, slots=True)
class Seq:
    parts: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Alt:
    choices: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """`least` copies and up to `most` (None: no bound)."""

    part: Tree
    least: int
    most: int | None


Tree = Bytes | OneOf | AnyByte | Seq | Alt | Repeat
EMPTY: Final = Seq(())


def literal(text: str, ignore_case: bool) -> Tree:
    """Give the tree of a literal."""
    return sequence([_char(char, ignore_case) for char in text])


def superset(pattern: str, ignore_case: bool) -> Tree | None:
    """Give a tree that accepts all that RE2's `pattern` (valid, not multiline) does; None if that is not certain."""
    try:
        return _Parser(pattern, ignore_case).parse()
    except _UnknownSyntax:
        return None


def sequence(parts: Iterable[Tree]) -> Tree:
    """Join parts, neighbouring bytes into one literal."""
    flat: list[Tree] = []
    for part in parts:
        for piece in part.parts if isinstance(part, Seq) else (part,):
            if flat and isinstance(piece, Bytes) and isinstance(flat[-1], Bytes):
                flat[-1] = Bytes(flat[-1].text + piece.text)
            else:
                flat.append(piece)
    return flat[0] if len(flat) == 1 else Seq(tuple(flat))


def min_bytes(tree: Tree) -> int:
    """Tell how short an accepted text can be."""
    match tree:
        case Bytes(text):
            return len(text)
        case OneOf() | AnyByte():
            return 1
        case Seq(parts):
            return sum(map(min_bytes, parts))
        case Alt(choices):
            return min(map(min_bytes, choices))
        case Repeat(part, least, _):
            return least * min_bytes(part)


def ascii_only(tree: Tree) -> Tree | None:
    """Give the tree that accepts the ASCII texts among those that this one does; None if there are none."""
    match tree:
        case Bytes(text):
            return tree if text.isascii() else None
        case OneOf(codes, _):
            return OneOf(codes, False) if codes else None
        case AnyByte():
            return OneOf(ALL_ASCII, False)
        case Seq(parts):
            kept = [ascii_only(part) for part in parts]
            return None if None in kept else sequence(part for part in kept if part is not None)
        case Alt(choices):
            possible = tuple(part for choice in choices if (part := ascii_only(choice)) is not None)
            return Alt(possible) if len(possible) > 1 else possible[0] if possible else None
        case Repeat(part, least, most):
            inner = ascii_only(part)
            return repeat(inner, least, most) if inner is not None else None if least else EMPTY


# --------------------------------------------------------------------------------------------------------- characters
_LONG_S, _KELVIN = "\u017f", "\u212a"
_FOLDS_BEYOND_ASCII: Final = {"s": _LONG_S, "k": _KELVIN}
"""The only two ASCII letters with a fold orbit beyond ASCII (a test asks RE2 about every code point)."""
_FOLDS_TO_ASCII: Final = {_LONG_S: "s", _KELVIN: "k"}


def _char(char: str, ignore_case: bool) -> Tree:
    """Give one character as it is, or as its fold orbit."""
    if not ignore_case:
        return Bytes(char.encode())
    letter = _FOLDS_TO_ASCII.get(char, char)
    if not letter.isascii():
        return OneOf(frozenset(), True)  # its orbit lies beyond ASCII; which characters those are only RE2 knows
    if not letter.isalpha():
        return Bytes(letter.encode())
    both = OneOf(frozenset({ord(letter.lower()), ord(letter.upper())}), False)
    beyond = _FOLDS_BEYOND_ASCII.get(letter.lower())
    return Alt((both, Bytes(beyond.encode()))) if beyond else both


def _ascii(*ranges: str) -> frozenset[int]:
    return frozenset(code for pair in ranges for code in range(ord(pair[0]), ord(pair[-1]) + 1))


_DIGITS, _SPACE, _WORD = _ascii("09"), frozenset(b"\t\n\f\r "), _ascii("09", "AZ", "az", "_")
_PERL: Final = {"d": _DIGITS, "s": _SPACE, "w": _WORD}
_POSIX: Final = {
    "alnum": _ascii("09", "AZ", "az"),
    "alpha": _ascii("AZ", "az"),
    "ascii": ALL_ASCII,
    "blank": frozenset(b"\t "),
    "cntrl": frozenset({*range(32), 127}),
    "digit": _DIGITS,
    "graph": _ascii("!~"),
    "lower": _ascii("az"),
    "print": _ascii(" ~"),
    "punct": _ascii("!/", ":@", "[`", "{~"),
    "space": frozenset(b"\t\n\v\f\r "),
    "upper": _ascii("AZ"),
    "word": _WORD,
    "xdigit": _ascii("09", "AF", "af"),
}
_ESCAPED: Final = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


class _Set:
    """A character class being read: `may` hold at least what it holds, `must` at most (for the complement)."""

    def __init__(self) -> None:
        self.may: set[int] = set()
        self.must: set[int] = set()
        self.wide = False

    def add(self, low: int, high: int) -> None:
        self.exact(frozenset(range(low, min(high, 127) + 1)), high > 127)
        # Which code points beyond ASCII these are is not kept, except that their folds may be ASCII: see `tree`.

    def exact(self, ascii_codes: frozenset[int], wide: bool) -> None:
        self.may |= ascii_codes
        self.must |= ascii_codes
        self.wide |= wide

    def unknown(self) -> None:
        r"""Add what only RE2's tables know (\pN)."""
        self.may |= ALL_ASCII
        self.wide = True

    def tree(self, negated: bool, ignore_case: bool) -> Tree:
        if negated:
            return OneOf(ALL_ASCII - self.must, True)
        may, wide = set(self.may), self.wide
        if ignore_case:
            if wide:
                may |= {ord(letter) for letter in _FOLDS_BEYOND_ASCII}
            may |= {ord(chr(code).swapcase()) for code in may if chr(code).isalpha()}
            wide |= any(ord(letter) in may for letter in _FOLDS_BEYOND_ASCII)
        return OneOf(frozenset(may), wide)


# ------------------------------------------------------------------------------------------------------------- syntax
class _UnknownSyntax(Exception):
    """Not certain what RE2 makes of this."""


_FLAGS = re.compile(r"\(\?([imsU]*)(?:-([imsU]+))?([:)])")
_NAMED = re.compile(r"\(\?P?<\w+>")
_COUNT = re.compile(r"\{(\d+)(?:(,)(\d*))?\}", re.ASCII)
_HEX = re.compile(r"x(?:\{([0-9A-Fa-f]{1,8})\}|([0-9A-Fa-f]{2}))")
_PROPERTY = re.compile(r"[pP](?:\{\^?\w+\}|[A-Za-z])")
_POSIX_CLASS = re.compile(r"\[:(\^?)(\w+):\]")


class _Parser:
    """Recursive descent over one pattern. `at` is the position; `fold` and `dot_all` are the flags in force."""

    def __init__(self, pattern: str, ignore_case: bool) -> None:
        self.text, self.at, self.depth = pattern, 0, 0
        self.fold, self.dot_all = ignore_case, False

    def parse(self) -> Tree:
        tree = self._choices()
        if self.at < len(self.text):
            raise _UnknownSyntax
        return tree

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _take(self, what: re.Pattern[str]) -> re.Match[str] | None:
        found = what.match(self.text, self.at)
        if found is not None:
            self.at = found.end()
        return found

    def _choices(self) -> Tree:
        choices = [self._sequence()]
        while self._peek() == "|":
            self.at += 1
            choices.append(self._sequence())
        return choices[0] if len(choices) == 1 else Alt(tuple(choices))

    def _sequence(self) -> Tree:
        parts: list[Tree] = []
        while self.at < len(self.text) and self._peek() not in "|)":
            if self.text.startswith(r"\Q", self.at):
                parts.extend(self._quoted())
            else:
                parts.append(self._repeated(self._atom()))
        return sequence(parts)

    def _quoted(self) -> list[Tree]:
        end = self.text.find(r"\E", self.at)
        inside = self.text[self.at + 2 : end if end >= 0 else None]
        self.at = len(self.text) if end < 0 else end + 2
        parts = [_char(char, self.fold) for char in inside]
        if parts:  # a repetition after \E takes the last character alone
            parts[-1] = self._repeated(parts[-1])
        elif self._peek() in "*+?{" and self._peek():
            raise _UnknownSyntax
        return parts

    def _repeated(self, part: Tree) -> Tree:
        least, most = 1, 1
        head = self._peek()
        if head and head in "*+?":
            self.at += 1
            least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}[head]  # type: ignore[assignment]
        elif head == "{":
            found = self._take(_COUNT)
            if found is None:
                return part  # RE2 reads the brace as a literal: the next atom
            least = int(found[1])
            most = least if not found[2] else int(found[3]) if found[3] else None  # type: ignore[assignment]
        else:
            return part
        if self._peek() == "?":
            self.at += 1
        if self._peek() and (self._peek() in "*+?" or _COUNT.match(self.text, self.at)):
            raise _UnknownSyntax
        return repeat(part, least, most)

    def _atom(self) -> Tree:
        char = self._peek()
        if char == "(":
            return self._group()
        if char == "[":
            return self._set()
        if char == "\\":
            return self._escape()
        self.at += 1
        if char == ".":
            return OneOf(ALL_ASCII if self.dot_all else ALL_ASCII - {10}, True)
        if char in ("^", "$"):
            return EMPTY
        if char in ("*", "+", "?") or (char == "{" and self._peek() == ","):
            raise _UnknownSyntax
        return _char(char, self.fold)

    def _group(self) -> Tree:
        before = self.fold, self.dot_all
        flags = self._take(_FLAGS)
        if flags is not None:
            for letters, on in ((flags[1], True), (flags[2] or "", False)):
                self.fold = on if "i" in letters else self.fold
                self.dot_all = on if "s" in letters else self.dot_all
            if flags[3] == ")":  # in force until the end of the group around it
                if self._peek() and self._peek() in "*+?{":
                    raise _UnknownSyntax  # RE2 repeats what stands before the flags
                return EMPTY
        elif self._take(_NAMED) is None:
            if self.text.startswith("(?", self.at):
                raise _UnknownSyntax
            self.at += 1
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise _UnknownSyntax
        tree = self._choices()
        if self._peek() != ")":
            raise _UnknownSyntax
        self.at += 1
        self.depth -= 1
        self.fold, self.dot_all = before
        return tree

    def _escape(self) -> Tree:
        self.at += 1
        char = self._peek()
        if char and char in "bBAz":
            self.at += 1
            return EMPTY
        if char == "C":
            self.at += 1
            return AnyByte()
        members = _Set()
        if self._add_class(members):
            return members.tree(False, self.fold)
        return _char(chr(self._escaped_code()), self.fold)

    def _add_class(self, members: _Set) -> bool:
        r"""Read what stands after a backslash as \d, \W, \pN ... into the set, if it is that."""
        char = self._peek()
        if char and char.lower() in _PERL and char.isascii():
            self.at += 1
            codes = _PERL[char.lower()]
            members.exact(codes if char.islower() else ALL_ASCII - codes, char.isupper())
            return True
        if self._take(_PROPERTY) is not None:
            members.unknown()
            return True
        return False

    def _escaped_code(self) -> int:
        r"""Read what stands after a backslash as one character."""
        found = self._take(_HEX)
        if found is not None:
            code = int(found[1] or found[2], 16)
            if code > 0x10FFFF or 0xD800 <= code < 0xE000:
                raise _UnknownSyntax
            return code
        char = self._peek()
        self.at += 1
        if char in _ESCAPED:
            return ord(_ESCAPED[char])
        if not char or not char.isascii() or char.isalnum() or char == "_":
            raise _UnknownSyntax
        return ord(char)

    def _set(self) -> Tree:
        self.at += 1
        negated = self._peek() == "^"
        self.at += negated
        members = _Set()
        first = True
        while first or self._peek() != "]":
            if self.at >= len(self.text):
                raise _UnknownSyntax
            first = False
            posix = self._take(_POSIX_CLASS)
            if posix is not None:
                codes = _POSIX.get(posix[2])
                if codes is None:
                    raise _UnknownSyntax
                members.exact(ALL_ASCII - codes if posix[1] else codes, bool(posix[1]))
                continue
            if self._peek() == "\\":
                self.at += 1
                if self._add_class(members):
                    continue
                self.at -= 1
            low = high = self._set_code()
            if self._peek() == "-" and self.text[self.at + 1 : self.at + 2] != "]":
                self.at += 1
                high = self._set_code()
            if high < low:
                raise _UnknownSyntax
            members.add(low, high)
        self.at += 1
        return members.tree(negated, self.fold)

    def _set_code(self) -> int:
        char = self._peek()
        if not char:
            raise _UnknownSyntax
        self.at += 1
        if char == "\\":
            return self._escaped_code()
        return ord(char)


def repeat(part: Tree, least: int, most: int | None) -> Tree:
    """Repeat a part, its counts bounded by MAX_REPEATS (more copies may then follow)."""
    if part == EMPTY or most == 0:
        return EMPTY
    if (least, most) == (1, 1):
        return part
    if least > MAX_REPEATS or (most or 0) > MAX_REPEATS:
        least, most = min(least, MAX_REPEATS), None
    return Repeat(part, least, most)

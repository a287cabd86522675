"""RE2's syntax, read as far as we are sure of it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from ess_ray.core.pattern.classes import PERL, POSIX, CharacterSet, character
from ess_ray.core.pattern.tree import EMPTY, EVERY, LAST_CODE, Alt, Chars, Tree, complement, repeat, sequence

_MAX_DEPTH: Final = 100
"""Nested groups: of deeper patterns nothing is known, rather than a deep recursion."""
_REMEMBERED: Final = 256
"""Patterns whose trees are kept a process: each is asked for twice, and by every scan of a search."""
_ESCAPED: Final = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_COUNTS: Final[dict[str, tuple[int, int | None]]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
_FLAGS = re.compile(r"\(\?([imsU]*)(?:-([imsU]+))?([:)])")
_NAMED = re.compile(r"\(\?P?<\w+>")
_COUNT = re.compile(r"\{(0|[1-9]\d{0,8})(?:(,)(0|[1-9]\d{0,8})?)?\}", re.ASCII)
"""RE2 reads braces around anything else, such as a leading zero, as text."""
_HEX = re.compile(r"x(?:\{([0-9A-Fa-f]{1,8})\}|([0-9A-Fa-f]{2}))")
_PROPERTY = re.compile(r"[pP](?:\{\^?\w+\}|[A-Za-z])")
_NEWLINE: Final = ((10, 10),)
_POSIX_CLASS = re.compile(r"\[:(\^?)(\w+):\]")


def literal(text: str, ignore_case: bool) -> Tree:
    """Give the tree of a literal."""
    return sequence([character(char, ignore_case) for char in text])


@lru_cache(_REMEMBERED)
def parse(pattern: str, ignore_case: bool) -> Tree | None:
    """Give a tree that accepts all that RE2's `pattern` (valid, not multiline) does; None if that is not certain."""
    try:
        return _Parser(pattern, ignore_case).whole()
    except _UnknownSyntax:
        return None


class _UnknownSyntax(Exception):
    """Not certain what RE2 makes of this."""


class _Parser:
    """Recursive descent over one pattern. `at` is the position; `fold` and `dot_all` are the flags in force."""

    def __init__(self, pattern: str, ignore_case: bool) -> None:
        self.text, self.at, self.depth = pattern, 0, 0
        self.fold, self.dot_all = ignore_case, False

    def whole(self) -> Tree:
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
        parts: list[Tree] = [character(char, self.fold) for char in inside]
        if parts:  # a repetition after \E takes the last character alone
            parts[-1] = self._repeated(parts[-1])
        elif self._repetition_follows():
            raise _UnknownSyntax
        return parts

    def _repetition_follows(self) -> bool:
        return self._peek() in ("*", "+", "?") or _COUNT.match(self.text, self.at) is not None

    def _repeated(self, part: Tree) -> Tree:
        counts = _COUNTS.get(self._peek())
        if counts is not None:
            self.at += 1
        elif (found := self._take(_COUNT)) is not None:
            least = int(found[1])
            counts = least, least if not found[2] else int(found[3]) if found[3] else None
        else:
            return part  # a brace may be text: the next atom
        if self._peek() == "?":
            self.at += 1
        if self._repetition_follows():
            raise _UnknownSyntax  # RE2 refuses most repetitions of repetitions
        return repeat(part, *counts)

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
            return Chars(EVERY if self.dot_all else complement(_NEWLINE), spelt=False)
        if char in ("^", "$"):
            return EMPTY
        if char in _COUNTS:
            raise _UnknownSyntax
        return character(char, self.fold)

    def _group(self) -> Tree:
        before = self.fold, self.dot_all
        flags = self._take(_FLAGS)
        if flags is not None:
            for letters, on in ((flags[1], True), (flags[2] or "", False)):
                self.fold = on if "i" in letters else self.fold
                self.dot_all = on if "s" in letters else self.dot_all
            if flags[3] == ")":  # in force until the end of the group around it
                if self._repetition_follows():
                    raise _UnknownSyntax  # RE2 repeats what stands before the flags: (?i)* makes it optional
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
        if char == "C":  # a byte, which may be a part of a character
            self.at += 1
            return repeat(Chars(EVERY, spelt=False), 0, 1)
        members = CharacterSet()
        if self._add_class(members):
            return members.tree(False, self.fold)
        return character(chr(self._escaped_code()), self.fold)

    def _add_class(self, members: CharacterSet) -> bool:
        r"""Read what stands after a backslash as \d, \W, \pN ... into the set, if it is that."""
        char = self._peek()
        if char and char.lower() in PERL and char.isascii():
            self.at += 1
            ranges = PERL[char.lower()]
            members.add_named(ranges if char.islower() else complement(ranges))
            return True
        if self._take(_PROPERTY) is not None:
            members.add_unknown()
            return True
        return False

    def _escaped_code(self) -> int:
        r"""Read what stands after a backslash as one character."""
        found = self._take(_HEX)
        if found is not None:
            code = int(found[1] or found[2], 16)
            if code > LAST_CODE or 0xD800 <= code < 0xE000:
                raise _UnknownSyntax
            return code
        char = self._peek()
        self.at += 1
        if char in _ESCAPED:
            return ord(_ESCAPED[char])
        if not char or not char.isascii() or char.isalnum():
            raise _UnknownSyntax  # octal, a back reference, or an escape of another engine
        return ord(char)

    def _set(self) -> Tree:
        self.at += 1
        negated = self._peek() == "^"
        self.at += negated
        members = CharacterSet()
        first = True
        while first or self._peek() != "]":
            if self.at >= len(self.text):
                raise _UnknownSyntax
            first = False
            posix = self._take(_POSIX_CLASS)
            if posix is not None:
                ranges = POSIX.get(posix[2])
                if ranges is None:
                    raise _UnknownSyntax
                members.add_named(complement(ranges) if posix[1] else ranges)
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

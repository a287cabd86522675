"""What varies in messages: the kinds of placeholders, and how each is written.

In a template a placeholder is one of Unicode's noncharacters (U+FDD0 and on), which no message needs; one that stands
in a message all the same becomes a placeholder of anything. In skeletons they are bytes that UTF-8 never has.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_FIRST: Final = 0xFDD0
_NONCHARACTERS: Final = "\ufdd0-\ufdef"
_WORD: Final = r"[0-9A-Za-z_\x{80}-\x{10ffff}]+"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of placeholder: the character that stands for it, what people see, and a regex (RE2, `.` is any character)
    that matches every text of this kind, and others; slashes in it are escaped."""

    mark: str
    shown: str
    pattern: str


def _kind(at: int, shown: str, pattern: str) -> Kind:
    return Kind(chr(_FIRST + at), shown, pattern)


NUM: Final = _kind(0, "<num>", r"[-+0-9.,eE]+")
HEX: Final = _kind(1, "<hex>", r"[0-9A-Fa-fxX]+")
ID: Final = _kind(2, "<id>", _WORD)
UUID: Final = _kind(3, "<uuid>", r"[-0-9A-Fa-f]{36}")
IP: Final = _kind(4, "<ip>", r"[0-9A-Fa-f:.]+")
TIME: Final = _kind(5, "<time>", r"[-+0-9A-Za-z:.,\/ ]+")
DURATION: Final = _kind(6, "<duration>", r"[0-9.]+[0-9a-z.\x{80}-\x{10ffff}]*")
QUOTED: Final = _kind(7, '"<str>"', '".*"')
SINGLE_QUOTED: Final = _kind(8, "'<str>'", "'.*'")
LIST: Final = _kind(9, "<nums>", r"[-+0-9.,eE ]+")
ANY: Final = _kind(10, "<*>", ".*")
REST: Final = _kind(11, "<...>", ".*")
"""Behind what is looked at of a long message."""

KINDS: Final = (NUM, HEX, ID, UUID, IP, TIME, DURATION, QUOTED, SINGLE_QUOTED, LIST, ANY, REST)
BY_MARK: Final = {kind.mark: kind for kind in KINDS}
_AGAIN: Final = re.compile(r"(?:\.\*){2,}")
_SPECIAL: Final = re.compile(r"[\\.+*?()|\[\]{}^$/\x00-\x1f\x7f]")
_SHORT: Final = {"\n": r"\n", "\t": r"\t", "\r": r"\r"}
MARKS: Final = re.compile(f"[{_NONCHARACTERS}]")
"""Finds a placeholder in a template; in a message, characters that would be taken for one."""
_BY_SHOWN: Final = {kind.shown: kind for kind in KINDS}
_SHOWN: Final = re.compile("|".join(map(re.escape, _BY_SHOWN)))
_SIDE_BY_SIDE: Final = re.compile(f"[{_NONCHARACTERS}]+")


def shown(template: str) -> str:
    """Write a template for people."""
    return MARKS.sub(lambda found: BY_MARK[found[0]].shown, template)


def read_shown(text: str) -> str:
    """Give the template that `shown` wrote; text of a message that reads like a placeholder is taken for one."""
    return _SHOWN.sub(lambda found: _BY_SHOWN[found[0]].mark, text)


def blanked(template: str, placeholder: str) -> str:
    """Write a template with the same text in place of each placeholder, and of several side by side."""
    return _SIDE_BY_SIDE.sub(lambda _: placeholder, template)


def regex_of(template: str) -> str:
    """Give a regex (RE2) that matches every message of a template, and few others; a `/` in it is escaped."""
    parts, at = [r"(?s)\A"], 0
    for found in MARKS.finditer(template):
        parts += [_literal(template[at : found.start()]), BY_MARK[found[0]].pattern]
        at = found.end()
    pattern = "".join([*parts, _literal(template[at:]), r"\z"])
    return _AGAIN.sub(".*", pattern).removesuffix(r".*\z").replace(r"(?s)\A.*", "(?s)")


def literals_of(template: str) -> list[str]:
    """Give the texts that every message of a template contains, one behind another."""
    return [text for text in MARKS.split(template) if text]


def _literal(text: str) -> str:
    return _SPECIAL.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    char = found[0]
    return _SHORT.get(char) or (rf"\{char}" if char.isprintable() else rf"\x{ord(char):02x}")

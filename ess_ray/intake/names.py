"""Names of an object's values where two are called alike: the first keeps its name, the next is `name#2`, and so on.

Of a name that stands in one JSON object twice the last value counts, as everywhere. But names that were told apart as
they were sent, and are no longer once they are text (bad bytes, lone surrogates, numbers beside texts), are kept all.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from typing import Any, Final, TypeVar

Value = TypeVar("Value")

MENDED: Final = "\ufffd"
"""What stands for a byte that is no UTF-8, and for a lone surrogate."""
SURROGATE: Final = re.compile("[\ud800-\udfff]")


def free_name(name: str, taken: Container[str]) -> str:
    """Give the name, or the first of `name#2`, `name#3`, ... that is not taken."""
    free, number = name, 2
    while free in taken:
        free, number = f"{name}#{number}", number + 1
    return free


def kept_apart(pairs: Iterable[tuple[str, Value]]) -> dict[str, Value]:
    """Give an object of pairs, with every value: a name's first keeps it, and so does what is sent as `name#2`."""
    found: dict[str, Value] = {}
    others: list[tuple[str, Value]] = []
    for name, value in pairs:
        if name in found:
            others.append((name, value))
        else:
            found[name] = value
    return _with_others(found, others)


def mended_object(pairs: Iterable[tuple[Any, Value]]) -> dict[Any, Value]:
    """Give an object of pairs as they were parsed: names that are alike once they were mended are kept apart."""
    found: dict[Any, Value] = {}
    others: list[tuple[str, Value]] = []
    for sent, value in pairs:
        name = SURROGATE.sub(MENDED, sent) if type(sent) is str else sent
        if name in found and type(name) is str and MENDED in name:
            others.append((name, value))
        else:
            found[name] = value
    return _with_others(found, others)


def object_of(pairs: Sequence[tuple[str, Value]]) -> dict[str, Value]:
    """Give what `mended_object` does, nearly always for less."""
    found = dict(pairs)
    return found if len(found) == len(pairs) else mended_object(pairs)


def _with_others(found: dict[Any, Value], others: Iterable[tuple[str, Value]]) -> dict[Any, Value]:
    numbers: Counter[str] = Counter()  # so that thousands of one name are not tried anew for each
    for name, value in others:
        free = name
        while free in found:
            numbers[name] += 1
            free = f"{name}#{numbers[name] + 1}"
        found[free] = value
    return found

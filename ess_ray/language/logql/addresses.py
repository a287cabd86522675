"""The addresses of `ip("10.0.0.0/8")`: one, a range of them, or a network, and where they stand in a text."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from typing import Final

_V4: Final = re.compile(r"(?<![0-9])(?<![0-9]\.)[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?!\.?[0-9])", re.ASCII)
_V6: Final = re.compile(
    r"(?<![0-9A-Za-z_.])(?=[0-9A-Fa-f]{0,4}:[0-9A-Fa-f]{0,4}:)[0-9A-Fa-f:.]{1,44}[0-9A-Fa-f:](?![0-9A-Za-z_])", re.ASCII
)
"""What may be one: at most 45 characters, and at least two colons."""
_OCTETS: Final = 4


@dataclass(frozen=True, slots=True)
class Addresses:
    """Those of one version from `first` to `last`, both included; `text`: as it was written."""

    text: str
    version: int
    first: int
    last: int

    def are_in(self, text: str) -> bool:
        """Tell whether one of them stands in a text."""
        return any(self.first <= one <= self.last for one in _found(text, self.version))

    @property
    def literal(self) -> str:
        """Give what every text with one of them contains: the octets that all have in common; may be empty."""
        if self.version == 6:
            return ""  # an address is written in many ways
        ends = (str(ipaddress.IPv4Address(one)).split(".") for one in (self.first, self.last))
        common = [first for first, _ in takewhile(lambda pair: pair[0] == pair[1], zip(*ends, strict=True))]
        return ".".join(common) + ("." if 0 < len(common) < _OCTETS else "")


def read_addresses(text: str) -> Addresses:
    """Read `10.0.0.1`, `10.0.0.1-10.0.0.9` or `10.0.0.0/8`, of either version. Raises ValueError."""
    if "/" in text:
        network = ipaddress.ip_network(text.strip(), strict=False)
        return Addresses(text, network.version, int(network[0]), int(network[-1]))
    ends = [ipaddress.ip_address(one.strip()) for one in text.split("-")]
    if len(ends) > 2:
        raise ValueError(f"{text!r} has more than two ends")
    first, last = ends[0], ends[-1]
    if first.version != last.version:
        raise ValueError(f"{text!r} begins with one version and ends with the other")
    if int(first) > int(last):
        raise ValueError(f"{text!r} ends before it begins")
    return Addresses(text, first.version, int(first), int(last))


def _found(text: str, version: int) -> Iterator[int]:
    """Give the addresses in a text."""
    for found in (_V4 if version == 4 else _V6).finditer(text):
        number = _number(found[0], version)
        if number is None and found[0].endswith(":"):  # what it tells stands behind: `::1: refused`
            number = _number(found[0][:-1], version)
        if number is not None:
            yield number


@lru_cache(maxsize=4096)
def _number(text: str, version: int) -> int | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return int(found) if found.version == version else None

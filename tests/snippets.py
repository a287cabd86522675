"""Snippets of the documents about agents, as tests run them: what a reader copies is what is tried."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs" / "agents"
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def snippet(document: str, holding: str, places: Mapping[str, str] | None = None) -> str:
    """Give the one snippet of a document that holds a text, with places (an address, a file) changed to a test's own.

    Fails where there is not exactly one, and where a place does not stand in it.
    """
    found = [text for _, text in _FENCED.findall((DOCS / document).read_text()) if holding in text]
    assert len(found) == 1, f"{len(found)} snippets of {document} hold {holding!r}"
    (text,) = found
    for place, own in (places or {}).items():
        assert place in text, f"{place!r} does not stand in the snippet of {document}"
        text = text.replace(place, own)
    return str(text)

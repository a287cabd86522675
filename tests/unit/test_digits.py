"""Whether a text's numbers lost digits in a fast parser: asked of the text, wherever in it they stand."""

from __future__ import annotations

import pytest

from ess_ray.intake import digits
from ess_ray.intake.digits import Sent

LOST = [
    "19.990000000000000001",
    "123456789012345678.25",
    "12345678901234567890.5e-15",
    "1e-400",
    "0.10000000000000001e-3",
]
KEPT = ["19.99", "0.30000000000000004", "1.5e-7", "5e-324", "123456.789012345", "0.0"]


def may_have_lost(text: str, number: str) -> bool:
    size = abs(float(number))
    return Sent(text.encode()).may_have_lost(size, size)


@pytest.mark.parametrize("number", LOST)
def test_lost_digits_are_found_at_every_place_of_a_block(number: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "_BLOCK_BYTES", 64)
    for at in range(140):
        assert may_have_lost(" " * at + f"[{number}]", number)
        assert may_have_lost(f'[{{"n":-{number}}},"{"1.5 2.25 " * at}"]', number)


@pytest.mark.parametrize("number", KEPT)
def test_what_a_float_tells_and_what_is_in_texts_is_not_lost(number: str) -> None:
    texts = '"took=1.2345678901234567890 s", "10.0.0.1", "0.10000000000000001e-400", "v1.23456789"'
    assert not may_have_lost(f'[{texts},{{"n":{number}}},{number}]', number)


def test_a_number_of_thousands_of_digits_is_no_trouble() -> None:
    long = "1" * 3_000 + ".5"
    assert may_have_lost(f"[{long}]", "1e300")
    assert not may_have_lost(f'["{long}"]', "1.5")

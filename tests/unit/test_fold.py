"""The frozen fold table against Arrow's RE2, and both ways of folding against each other."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ess_ray.core.fold import FOLDED, fold_text, fold_utf8

CASED = {
    code
    for code in range(0x110000)
    if not 0xD800 <= code <= 0xDFFF
    and any(other != chr(code) for other in (chr(code).lower(), chr(code).upper(), chr(code).title()))
}
CANDIDATES = sorted(CASED | FOLDED.keys() | set(FOLDED.values()))


def folded_bytes(text: str) -> bytes:
    return fold_utf8(np.frombuffer(text.encode(), np.uint8))


def test_re2_takes_for_the_same_only_what_folds_the_same() -> None:
    texts = pa.array(list(map(chr, CANDIDATES)))
    folded = np.array([FOLDED.get(code, code) for code in CANDIDATES])
    for code in CANDIDATES:
        same = pc.match_substring_regex(texts, f"\\x{{{code:x}}}", ignore_case=True).to_numpy(zero_copy_only=False)
        assert set(folded[same]) == {FOLDED.get(code, code)}, f"U+{code:04X} {unicodedata.name(chr(code), '?')}"


def found_by(members: Iterable[int], codes: list[int]) -> set[int]:
    """Give those of `codes` that the class of `members` matches ignoring case."""
    runs: list[list[int]] = []
    for code in members:
        if runs and code == runs[-1][1] + 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    spelt = "".join(f"\\x{{{low:x}}}-\\x{{{high:x}}}" for low, high in runs)
    matches = pc.match_substring_regex(pa.array(list(map(chr, codes))), f"[{spelt}]", ignore_case=True)
    return {codes[i] for i in np.flatnonzero(matches.to_numpy(zero_copy_only=False))}


def test_no_code_point_outside_the_candidates_has_a_partner() -> None:
    # A class and its complement share nothing; ignoring case they share what has a partner across. Two partners
    # differ in a bit, so classes by one bit find them. Beyond the second plane no script has case.
    cased = set(CANDIDATES)
    others = [code for code in range(0x20000) if not 0xD800 <= code <= 0xDFFF and code not in cased]
    assert not found_by(CANDIDATES, others)
    assert not found_by(range(0x20000, 0x110000), others + CANDIDATES)
    for bit in range(12, 17):
        assert found_by([c for c in others if c >> bit & 1], others) == {c for c in others if c >> bit & 1}
    for start in range(0, 0x20000, 0x1000):
        block = [code for code in others if start <= code < start + 0x1000]
        for bit in range(12):
            members = [code for code in block if code >> bit & 1]
            assert not members or found_by(members, block) == set(members)


def test_folding_is_idempotent() -> None:
    assert not FOLDED.keys() & set(FOLDED.values())


@pytest.mark.parametrize("orbit", ["sSſ", "kK\u212a", "åÅ\u212b", "σςΣ", "ßẞ", "\u01c6\u01c5\u01c4", "µμΜ", "𐐀𐐨"])
def test_an_orbit_folds_to_one_text(orbit: str) -> None:
    assert len({folded_bytes(char) for char in orbit}) == 1


@given(st.text(st.characters(codec="utf-8") | st.sampled_from("kK\u212aſẞİı東\0"), max_size=60), st.integers(0, 5000))
def test_bytes_fold_as_text_does_wherever_pieces_are_cut(text: str, before: int) -> None:
    whole = "Ab" * before + "\u212a" + text + "Z" * before
    assert folded_bytes(whole) == fold_text(whole).encode()


def test_what_is_no_utf8_is_refused() -> None:
    for bad in (b"a\xff", b"\x80\x80\x80\x80\x80" * 900, b"\xe2\x84"):
        with pytest.raises(UnicodeDecodeError):
            fold_utf8(np.frombuffer(bad, np.uint8))

"""Columns of trace and span ids, as `rows.trace_text` writes each."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ess_ray.intake.rows import trace_text

_STRING: Final = pa.string()
_ZEROS: Final = 8
"""Zeros in a row that a random id nearly never has."""


def stored_trace_ids(given: pa.StringArray) -> pa.Array:
    """Write ids as `trace_text` does: nearly all of them are written so already."""
    if given.null_count == len(given):
        return given
    if _are_usual_ids(given):
        return given
    if given.null_count and not pc.any(pc.match_substring_regex(given, "[A-Z]|^0*$")).as_py():
        return given
    return pa.array([None if text is None else trace_text(text) or None for text in given.to_pylist()], _STRING)


def _are_usual_ids(given: pa.StringArray) -> bool:
    """Tell, at a glance, that `trace_text` would alter none; if not, one of them may be in capitals, or nothing."""
    text = given.buffers()[2].to_pybytes() if given.null_count == 0 else None
    if not text or b"0" * _ZEROS in text or text.lower() != text:
        return False
    offsets = np.frombuffer(given.buffers()[1], np.int32)
    return bool(np.diff(offsets).min() >= _ZEROS)

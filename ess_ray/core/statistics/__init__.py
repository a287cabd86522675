"""Statistics of the rows in a cell (a time bucket and group): what is kept of values, and what is told of it.

What is kept of a field's values in a cell are whole numbers in slots (`slots`), which are put together by adding them
or taking the largest: results do not depend on where rows lie, nor on the order in which parts arrive, not in a bit.

- `accumulator`: the protocol of what keeps values. `tallies`, `sums`, `extremes`, `quantiles`, `distinct`: each kind.
- `functions`: the functions that people ask for, over what is kept.
"""

from ess_ray.core.statistics.accumulator import Accumulator, Slotted, Values
from ess_ray.core.statistics.functions import (
    FAMILIES,
    Results,
    Statistic,
    Told,
    accumulators_of,
    decode_accumulators,
    encode_accumulators,
    ignored,
)
from ess_ray.core.statistics.slots import SLOT_BYTES, SLOTS, Slots, slot_counts, together, unpacked

__all__ = [
    "FAMILIES",
    "SLOTS",
    "SLOT_BYTES",
    "Accumulator",
    "Results",
    "Slots",
    "Slotted",
    "Statistic",
    "Told",
    "Values",
    "accumulators_of",
    "decode_accumulators",
    "encode_accumulators",
    "ignored",
    "slot_counts",
    "together",
    "unpacked",
]

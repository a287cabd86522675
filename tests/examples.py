"""How many examples a property test looks at: `make test` has minutes, `make fuzz` has more of them."""

from __future__ import annotations

import os
from typing import Final

SHARE: Final = float(os.environ.get("PROPERTY_SHARE", "0.25"))
"""Of what each test names as its whole: enough to find within some runs what the whole finds in one."""
LEAST: Final = 10


def examples(whole: int) -> int:
    """Give the number of examples to look at, of those that a test would look at where time does not matter."""
    return max(LEAST, round(whole * SHARE))

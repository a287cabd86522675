"""One fuzzer, in a process of its own: `python -m tests.fuzz.fuzzing NAME CORPUS [libFuzzer's options]`.

`python -m tests.fuzz.fuzzing NAME --hex INPUT` runs one input again, without atheris.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from typing import Any, Final

import atheris
import pyarrow as pa

with atheris.instrument_imports(include=["ess_ray"]):
    from tests.fuzz.targets import TARGETS, Target

MAX_ARROW_BYTES: Final = 256 * 1024 * 1024
"""Arrow memory at the peak of one input, of which the largest is some hundred kilobytes: damaged lengths must not
count. Arrow's allocations are not seen by libFuzzer."""
MAX_ADDRESS_BYTES: Final = 6 * 1024 * 1024 * 1024
"""Of the whole process: Python's own allocations beyond are a MemoryError, which no reader documents."""


def checked(target: Target) -> Callable[[bytes], None]:
    """Run a target and look at what it took of Arrow's memory."""

    def run(data: bytes) -> None:
        before = pa.default_memory_pool().max_memory()
        target.run(data)
        peak = pa.default_memory_pool().max_memory()
        assert peak == before or peak < MAX_ARROW_BYTES, f"{peak} bytes of Arrow memory at the peak"

    return run


def mutating(target: Target) -> dict[str, Any]:
    """Give atheris the target's own mutator, which takes turns with its usual one."""
    if (mutate := target.mutate) is None:
        return {}

    def one(data: bytes, max_size: int, seed: int) -> bytes:
        made = mutate(data, seed) if seed % 4 else atheris.Mutate(data, max_size)
        return made if len(made) <= max_size else data

    return {"custom_mutator": one}


def main(arguments: list[str]) -> None:
    name, *rest = arguments
    run = checked(TARGETS[name])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MAX_ADDRESS_BYTES, hard))
    if rest[:1] == ["--hex"]:
        run(bytes.fromhex(rest[1]))
        return
    atheris.Setup([sys.argv[0], *rest], run, **mutating(TARGETS[name]))
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])

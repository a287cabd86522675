"""Every reader against FUZZ_SECONDS of coverage-guided input; what is found becomes a unit test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

pytest.importorskip("atheris", reason="make fuzz installs it")

from tests.fuzz.targets import TARGETS

SECONDS: Final = int(os.environ.get("FUZZ_SECONDS", "60"))
INPUT_S: Final = 20
"""The longest that one input may take: none should take a hundredth, on a machine that does other things too."""
MAX_INPUT_BYTES: Final = 64 * 1024
MAX_RSS_MIB: Final = 2048
ROOT: Final = Path(__file__).parents[2]


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.timeout(SECONDS + 300)
def test_no_input_breaks_a_reader(name: str, tmp_path: Path) -> None:
    corpus, found = tmp_path / "corpus", tmp_path / "found"
    corpus.mkdir()
    found.mkdir()
    for number, seed in enumerate(TARGETS[name].seeds()):
        TARGETS[name].run(seed)
        (corpus / f"seed-{number}").write_bytes(seed)
    command = [sys.executable, "-m", "tests.fuzz.fuzzing", name, str(corpus)]
    options = [
        f"-max_total_time={SECONDS}",
        f"-timeout={INPUT_S}",
        f"-rss_limit_mb={MAX_RSS_MIB}",
        f"-max_len={MAX_INPUT_BYTES}",
        f"-artifact_prefix={found}/",
        "-print_final_stats=1",
    ]
    done = subprocess.run(
        [*command, *options],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=SECONDS + 240,
        check=False,
    )
    print("\n".join(line for line in done.stderr.splitlines() if line.startswith("stat::")))
    broken = sorted(found.iterdir())
    replays = [f"python -m tests.fuzz.fuzzing {name} --hex {one.read_bytes().hex()}" for one in broken]
    said = "\n".join([done.stdout[-4000:], done.stderr[-4000:], "again with:", *replays])
    assert done.returncode == 0, said
    assert not broken, said

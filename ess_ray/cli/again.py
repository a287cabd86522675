"""How commands that we print are written, so that a copied line runs."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import Final

NAME: Final = "ess"


def program() -> list[str]:
    """Give the words that run this very program in the same shell."""
    called, found = Path(sys.argv[0]), shutil.which(NAME)
    if called.name == "__main__.py":
        same = found is not None and Path(found).parent == Path(sys.executable).parent
        return [NAME] if same else [sys.executable, "-m", "ess_ray.cli"]
    if called.name != NAME or (found is not None and called.exists() and Path(found).samefile(called)):
        return [NAME]
    return [str(called)]  # an environment that is not activated, or another one's is found first


def command_line(*words: str) -> str:
    """Write a command of this program for a shell."""
    return shlex.join([*program(), *words])

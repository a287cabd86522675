"""What a benchmark prints: rows, with the machine and versions they were measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

PACKAGES = ("ray", "pyarrow", "deltalake", "orjson", "starlette", "uvicorn")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: what, how much, beside what."""

    what: str
    value: str
    note: str


def machine() -> str:
    """Tell what these figures were measured on."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    return f"{os.cpu_count()} x {model}, Linux {platform.release()}, Python {platform.python_version()}; {versions}"


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """Add up the CPU time that these processes have used so far."""
    total = 0.0
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def table(title: str, rows: Iterable[Row]) -> str:
    """Write rows as a Markdown table."""
    lines = [f"## {title}", "", "| what | measured | beside |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {row.what} | {row.value} | {row.note} |" for row in rows), ""])


def grid(title: str, header: Sequence[str], rows: Iterable[Sequence[str]], level: int = 2, text: str = "") -> str:
    """Write a Markdown table of any columns; `level` of its heading, `text` between heading and table."""
    lines = [f"{'#' * level} {title}", "", *([text, ""] if text else [])]
    lines += [_line(header), "|" + "---|" * len(header), *(_line(row) for row in rows)]
    return "\n".join([*lines, ""])


def _line(cells: Sequence[str]) -> str:
    # A bar within a cell (in a regex) would end it.
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

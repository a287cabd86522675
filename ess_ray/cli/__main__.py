"""`python -m ess_ray.cli`: the same as `ess`."""

from __future__ import annotations

from ess_ray.cli import main

main(prog_name="ess")

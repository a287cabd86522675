"""Fixtures of the real servers' tests that more than one of them asks for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ess_ray.adapters.s3_location import S3Location
from ess_ray.adapters.s3_store import S3ObjectStore
from tests.proxy import Proxy


@pytest.fixture
def store(s3_location: S3Location, s3_proxy: Proxy) -> S3ObjectStore:
    """An empty store that is reached through the proxy."""
    return replace(s3_location, endpoint=s3_proxy.endpoint).open()

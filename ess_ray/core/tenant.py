"""Tenants: whose events are whose."""

from __future__ import annotations

import re
from typing import Final

from ess_ray.core.errors import BadRequest

DEFAULT_TENANT: Final = "default"
_TENANT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def check_tenant(tenant: str) -> str:
    """Give `tenant` back, or raise BadRequest: names become folder names, so nothing else may pass."""
    if _TENANT.fullmatch(tenant) is None:
        raise BadRequest(f"the tenant {tenant!r} is not a name: use [a-z0-9][a-z0-9_-]{{0,62}}")
    return tenant

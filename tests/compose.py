"""infra/compose.yaml as a container engine would see it: its text with variables put in, its services, its scripts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

INFRA: Final = Path(__file__).parents[1] / "infra"
TEXT: Final = (INFRA / "compose.yaml").read_text()
GIVEN: Final = {
    "S3_ACCESS_KEY": "made-up-access-key",
    "S3_SECRET_KEY": "made-up-secret-key",
    "REDIS_PASSWORD": "made-up-redis-password",
    "RAY_TOKEN": "made-up-ray-token-0",
    "GRAFANA_PASSWORD": "made-up-grafana-password",
    "KAFKA_CLUSTER_ID": "xtzWWN4bTjitpL3kfd9s5g",
}
"""What infra/.env could say."""
_VARIABLE: Final = re.compile(r"(?<!\$)\$\{(\w+)(?::([-?])([^}]*))?\}")


def interpolated(given: Mapping[str, str] = GIVEN) -> dict[str, Any]:
    """Read the file with variables put in and anchors resolved; `$$` stands as it is. Raises KeyError."""
    text = _VARIABLE.sub(lambda found: given.get(found[1]) or _default(found), TEXT)
    read: dict[str, Any] = yaml.safe_load(text)
    return read


def _default(found: re.Match[str]) -> str:
    if found[2] != "-":
        raise KeyError(found[1])
    return found[3]


def script(service: Mapping[str, Any]) -> str:
    """Give the script that a service runs in a shell."""
    assert service["entrypoint"] == ["sh", "-c"]
    (text,) = service["command"]
    return str(text).replace("$$", "$")


def kafka_properties(environment: Mapping[str, str]) -> dict[str, str]:
    """Name the properties that Apache Kafka's image makes of its environment: KAFKA_A_B is a.b."""
    shell_only = {"KAFKA_HEAP_OPTS"}
    return {
        name.removeprefix("KAFKA_").lower().replace("_", "."): value
        for name, value in environment.items()
        if name.startswith("KAFKA_") and name not in shell_only
    }

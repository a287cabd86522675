"""cluster.yaml is one that Ray's launcher accepts, with its defaults filled in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import ValidationError
from ray.autoscaler._private.util import prepare_config, validate_config

FILE = Path(__file__).parents[2] / "cluster.yaml"


@pytest.fixture
def config() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return found


def test_ray_accepts_it(config: dict[str, Any]) -> None:
    prepared = prepare_config(config)
    validate_config(prepared)
    assert prepared["available_node_types"]["worker"]["max_workers"] == 8
    assert prepared["docker"]["image"].partition(":")[0] == "ess_ray"
    assert prepared["provider"]["type"] == "aws"


def test_a_mistake_would_be_seen(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        validate_config(prepare_config({**config, "max_wrokers": 3}))
    with pytest.raises(ValueError, match="max_workers"):
        validate_config(prepare_config({**config, "max_workers": 1}))

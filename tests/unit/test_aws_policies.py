"""The AWS policies of infra/aws: narrow resources, actions that exist, tags on whatever starts or ends instances."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "infra/aws").glob("*.json"))
NOT_OPERATIONS = {"iam:PassRole": "", "s3:ListBucket": "ListObjectsV2", "s3:AbortMultipartUpload": ""}
"""Actions of IAM that are named otherwise than the call of the API, and that call ("": no call of that name)."""
ENDING = {"ec2:TerminateInstances", "ec2:StopInstances", "ec2:StartInstances"}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(file: Path) -> list[dict[str, Any]]:
    policy = json.loads(file.read_text())
    assert policy["Version"] == "2012-10-17"
    found: list[dict[str, Any]] = policy["Statement"]
    return found


def actions(file: Path) -> set[str]:
    return {action for statement in statements(file) for action in listed(statement["Action"])}


def test_there_is_one_for_each_who_acts() -> None:
    assert [file.stem for file in FILES] == ["head", "launcher", "worker"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_action_is_one_that_aws_knows(file: Path) -> None:
    session = botocore.session.get_session()
    for action in actions(file):
        service, _, name = action.partition(":")
        call = NOT_OPERATIONS.get(action, name)
        assert not call or call in session.get_service_model(service).operation_names, action


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_no_resource_is_wider_than_it_must_be(file: Path) -> None:
    for statement in statements(file):
        assert statement["Effect"] == "Allow"
        if listed(statement["Resource"]) == ["*"]:
            assert all(action.startswith("ec2:Describe") for action in listed(statement["Action"])), statement["Sid"]
            assert "aws:RequestedRegion" in statement["Condition"]["StringEquals"]
        for resource in listed(statement["Resource"]):
            assert resource == "*" or re.fullmatch(r"arn:aws:[a-z0-9]+:\w*:\w*:.+", resource), resource
            assert not resource.startswith("arn:aws:s3:::*")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_only_instances_of_this_cluster_are_started_and_ended(file: Path) -> None:
    name = yaml.safe_load((ROOT / "cluster.yaml").read_text())["cluster_name"]
    for statement in statements(file):
        equal = statement.get("Condition", {}).get("StringEquals", {})
        if ENDING & set(listed(statement["Action"])):
            assert equal["aws:ResourceTag/ray-cluster-name"] == name
        if statement["Action"] == "ec2:RunInstances" and "instance/*" in str(statement["Resource"]):
            assert equal["aws:RequestTag/ray-cluster-name"] == name
        if statement["Action"] == "iam:PassRole":
            assert equal["iam:PassedToService"] == "ec2.amazonaws.com"


def test_workers_have_the_prefix_and_nothing_else() -> None:
    worker = next(file for file in FILES if file.stem == "worker")
    assert {action.partition(":")[0] for action in actions(worker)} == {"s3"}
    for statement in statements(worker):
        if statement["Action"] == "s3:ListBucket":
            assert statement["Condition"]["StringLike"]["s3:prefix"] == ["PREFIX/*"]
        elif any("Object" in action for action in listed(statement["Action"])):
            assert statement["Resource"] == "arn:aws:s3:::BUCKET/PREFIX/*"

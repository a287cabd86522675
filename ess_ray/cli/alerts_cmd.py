"""`ess alerts`: rules from a file, what they came to, silences."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click
import yaml

from ess_ray.cli.client import Client, Target
from ess_ray.cli.follow import INCOMPLETE
from ess_ray.cli.group import Group
from ess_ray.cli.options import json_option, with_target
from ess_ray.cli.output import print_json, tell
from ess_ray.cli.tables import print_table
from ess_ray.cli.when import Zone, tz_option
from ess_ray.core.errors import BadRequest

RULES: Final = "/search/v1/alerts/rules"
SILENCES: Final = "/search/v1/alerts/silences"
_TEXT: Final = "text"


@click.group(cls=Group)
def alerts() -> None:
    """Rules that are asked again and again of what arrives, and tell people.

    Who is told is set in ess.yaml (alerts.receivers). Applying and removing rules needs a key of scope admin.
    """


@alerts.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
@with_target
def apply(target: Target, file: Path, as_json: bool) -> None:
    """Keep the groups of rules of FILE (YAML, as Prometheus has them), in place of those of these names.

    \b
    groups:
      - name: payments
        interval: 1m
        rules:
          - alert: PaymentsFail
            expr: 'level:ERROR service:payments | stats count() as n by host'
            condition: n > 10
            window: 5m
            for: 2m
            labels: {severity: page}
            annotations: {summary: '{{ $value }} errors on {{ $labels.host }}'}

    Groups that are not in FILE stay. Exit codes: 0 kept, 1 failed, 2 wrong rules (then none is kept).
    """
    groups = _groups_in(file)
    with Client(target) as client:
        for group in groups:  # all are looked at before one is kept
            client.call("POST", "/search/v1/alerts/check", json=group)
        told = [client.call("PUT", f"{RULES}/{_word(group['name'])}", json=group) for group in groups]
    if as_json:
        print_json({"groups": told})
        return
    for one in told:
        click.echo(
            f"{one['name']}: {one['rules']} rules {'kept' if one['created'] else 'kept in place of those before'}"
        )


@alerts.command("list")
@json_option
@tz_option
@with_target
def list_alerts(target: Target, /, *, as_json: bool, zone: Zone) -> None:
    """List what fires, is pending, or was resolved within the hour; then the rules, and how each was evaluated last.

    Exit codes: 0 done, 1 failed, 3 a rule's last answer was not complete: it is as it was before.
    """
    with Client(target) as client:
        found = client.call("GET", "/search/v1/alerts")
    if as_json:
        print_json(found)
    else:
        columns = _columns(
            ("state", _TEXT), ("alert", _TEXT), ("since", "time"), ("value", "number"), ("labels", _TEXT)
        )
        print_table(columns, [_alert_row(one) for one in found["alerts"]], zone)
        if found["groups"]:
            tell(f"{len(found['groups'])} groups of rules, {len(found['receivers'])} receivers:")
        for group in found["groups"]:
            for line in _group_lines(group):
                tell(line)
    evaluations = [rule["last_evaluation"] for group in found["groups"] for rule in group["rules"]]
    if any(one is not None and not one["complete"] for one in evaluations):
        sys.exit(INCOMPLETE)


@alerts.command("test")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
@with_target
def try_rules(target: Target, file: Path, as_json: bool) -> None:
    """Tell what the rules of FILE would give just now. Nothing is kept, nobody is told.

    Exit codes: 0 done, whether or not an alert would fire, 1 failed, 2 wrong rules, 3 an answer was not complete.
    """
    groups = _groups_in(file)
    with Client(target) as client:
        told = [client.call("POST", "/search/v1/alerts/test", json=group) for group in groups]
    if as_json:
        print_json({"groups": told})
    else:
        columns = _columns(("group", _TEXT), ("alert", _TEXT), ("met", _TEXT), ("value", "number"), ("labels", _TEXT))
        rows = [
            [group["name"], rule["alert"], _MET[row["met"]], row["value"], _labels(row["labels"])]
            for group in told
            for rule in group["rules"]
            for row in rule["rows"]
        ]
        print_table(columns, rows, Zone("UTC"))
        for rule in (rule for group in told for rule in group["rules"]):
            events = f"{rule['events']:,} events"
            tell(f"{rule['alert']}: {events} arrived from {rule['arrived_from']} to {rule['arrived_until']}")
            for reason in rule["incomplete"]:
                tell(f"{rule['alert']}: incomplete: {reason}")
    if not all(group["complete"] for group in told):
        sys.exit(INCOMPLETE)


@alerts.command()
@click.argument("matchers")
@click.option("--for", "length", required=True, metavar="LENGTH", help="How long: 2h, 1d12h.")
@click.option("--comment", default="", help="Why, for people.")
@json_option
@with_target
def silence(target: Target, /, *, matchers: str, length: str, comment: str, as_json: bool) -> None:
    """Have nobody told of the alerts whose labels match MATCHERS, for a while.

    \b
    ess alerts silence 'alertname=PaymentsFail, host=~"web.*"' --for 2h

    All of them must match: = and != compare, =~ and !~ are regular expressions of the whole value.
    """
    body = {"matchers": matchers, "for": length, "comment": comment}
    with Client(target) as client:
        made = client.call("POST", SILENCES, json=body)
    if as_json:
        print_json(made)
    else:
        click.echo(f"{made['id']} until {made['ends_at']}")


@alerts.command()
@json_option
@tz_option
@with_target
def silences(target: Target, /, *, as_json: bool, zone: Zone) -> None:
    """List silences, those that ended within a day too."""
    with Client(target) as client:
        found = client.call("GET", SILENCES)
    if as_json:
        print_json(found)
        return
    columns = _columns(("id", _TEXT), ("active", _TEXT), ("until", "time"), ("matchers", _TEXT), ("comment", _TEXT))
    rows = [
        [one["id"], "yes" if one["active"] else "no", one["ends_at"], one["text"], one["comment"]]
        for one in found["silences"]
    ]
    print_table(columns, rows, zone)


@alerts.command()
@click.argument("silence_id", metavar="ID")
@with_target
def unsilence(target: Target, silence_id: str) -> None:
    """End a silence."""
    with Client(target) as client:
        client.call("DELETE", f"{SILENCES}/{_word(silence_id)}")
    click.echo(f"the silence {silence_id} has ended")


@alerts.command("rm")
@click.argument("name")
@json_option
@with_target
def remove(target: Target, name: str, as_json: bool) -> None:
    """Remove the group of rules NAME. Who was told that one of them fires is told that it is resolved."""
    with Client(target) as client:
        told = client.call("DELETE", f"{RULES}/{_word(name)}")
    if as_json:
        print_json(told)
    else:
        click.echo(f"{name} is removed")


_MET: Final = {True: "yes", False: "no", None: "as before"}


def _groups_in(file: Path) -> list[dict[str, Any]]:
    """Read the groups of a file. Raises BadRequest; what is wrong in one, the system says."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadRequest(f"{file} is not YAML: {' '.join(str(error).split())}") from None
    groups = content.get("groups") if isinstance(content, dict) else None
    if not isinstance(groups, list) or not groups or set(content) != {"groups"}:
        raise BadRequest(f"{file} must hold `groups:`, a list of groups of rules, and nothing else")
    for group in groups:
        if not isinstance(group, dict) or not isinstance(group.get("name"), str):
            raise BadRequest(f"{file}: each group has a `name`, which is text")
    names = [group["name"] for group in groups]
    if len(set(names)) < len(names):
        raise BadRequest(f"{file}: two groups have the same name")
    return groups


def _columns(*columns: tuple[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "type": kind} for name, kind in columns]


def _alert_row(one: Mapping[str, Any]) -> Sequence[Any]:
    labels = {name: text for name, text in one["labels"].items() if name != "alertname"}
    state = f"{one['state']} (silenced)" if one["silenced_by"] else one["state"]
    return [state, one["labels"]["alertname"], one["active_at"], one["value"], _labels(labels)]


def _group_lines(group: Mapping[str, Any]) -> list[str]:
    lines = [] if group["flaw"] is None else [f"  {group['name']}: {group['flaw']}"]
    for rule in group["rules"]:
        last = rule["last_evaluation"]
        if last is None:
            how = "not evaluated yet"
        elif last["complete"]:
            how = f"asked at {last['at']} of what arrived from {last['arrived_from']}"
        else:
            how = f"incomplete at {last['at']}, and so as before: {'; '.join(last['incomplete'])}"
        notes = f"; {'; '.join(last['notes'])}" if last is not None and last["notes"] else ""
        lines.append(f"  {group['name']} / {rule['alert']}: {how}{notes}")
    return lines


def _labels(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(labels.items()) if value and name != "alertname")


def _word(name: str) -> str:
    return quote(name, safe="")

"""`ess keys`: makes, lists and revokes API keys, in the data directory or bucket itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ess_ray.adapters.places import KEYS, places_of
from ess_ray.cli.again import command_line
from ess_ray.cli.client import Client, Target
from ess_ray.cli.group import Group
from ess_ray.cli.options import Chosen, json_option, with_settings, with_target
from ess_ray.cli.output import print_json, tell
from ess_ray.core.errors import CorruptData
from ess_ray.core.tenant import DEFAULT_TENANT
from ess_ray.core.timestamps import format_timestamp
from ess_ray.keys import SCOPES, ApiKey, KeyBook, Scope


@click.group(cls=Group)
def keys() -> None:
    """Make, list and revoke API keys.

    From the first key on every request needs one, also after it was revoked. Whoever can write the data directory, or
    bucket, can make keys, so these commands need no key themselves, and no running system.
    """


@keys.command()
@click.option("--tenant", default=DEFAULT_TENANT, show_default=True, help="Whose events the key pushes and finds.")
@click.option("--scope", "scopes", type=click.Choice(SCOPES), multiple=True, required=True, help="May be given again.")
@click.option("--name", default="", help="What it is for, for people.")
@json_option
@with_settings
def create(chosen: Chosen, tenant: str, scopes: tuple[Scope, ...], name: str, as_json: bool) -> None:
    """Make a key and print it: this once, it is not stored."""
    book = _book(chosen)
    is_first = not book.look().closed
    key, text = book.create(tenant, scopes, name)
    if as_json:
        print_json({"key": text, **_told(key)})
    else:
        click.echo(text)
        tell(f"key {key.id} for {', '.join(key.scopes)} of tenant {key.tenant}")
        tell("It works within seconds. Keep it: it is not shown again. Send it as")
        tell("`Authorization: Bearer KEY`, or set ESS_KEY for the `ess` commands.")
        if is_first:
            _tell_of_the_first(key, chosen)


def _tell_of_the_first(key: ApiKey, chosen: Chosen) -> None:
    """Tell what changes with the first key: who had none is shut out, and whose the events are that are there."""
    tell("It is the first key: from now on every request needs one.")
    finds = key.tenant == DEFAULT_TENANT and key.allows("search")
    tell(
        f"Events pushed until now belong to the tenant {DEFAULT_TENANT}{', and this key finds them' if finds else ''}."
    )
    if not finds:
        where = () if chosen.data_dir is None else ("--data-dir", str(chosen.data_dir))
        tell("A key that finds them:")
        tell(f"  {command_line('keys', 'create', '--tenant', DEFAULT_TENANT, '--scope', 'search', *where)}")


@keys.command()
@json_option
@with_target
def show(target: Target, as_json: bool) -> None:
    """Tell which key ESS_KEY is: whose events it finds, and what it may do."""
    with Client(target) as client:
        found = client.call("GET", "/search/v1/key")
    if as_json:
        print_json(found)
        return
    key = found["key"]
    click.echo(f"tenant {found['tenant']}" + ("; no key is needed here" if key is None else ""))
    if key is not None:
        name = f" ({key['name']})" if key["name"] else ""
        click.echo(f"key {key['id']}{name} for {', '.join(key['scopes'])}")


@keys.command("list")
@json_option
@with_settings
def list_keys(chosen: Chosen, as_json: bool) -> None:
    """List all keys, revoked ones too; secrets are not stored."""
    book = _book(chosen).look()
    if as_json:
        print_json([_told(key) for key in book.keys])
    else:
        _print(book.keys)
    if book.damaged:
        raise CorruptData("; ".join(book.damaged))


def _print(found: Sequence[ApiKey]) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("id", no_wrap=True)  # what `ess keys revoke` takes, to be copied
    for head in ("tenant", "scopes", "name"):
        table.add_column(head)
    for head in ("created", "revoked"):
        table.add_column(head, no_wrap=True)
    for key in found:
        cells = (key.id, key.tenant, " ".join(key.scopes), key.name, _day(key.created_us), _day(key.revoked_us))
        table.add_row(*(Text(cell) for cell in cells))
    Console().print(table)


def _day(at_us: int | None) -> str:
    """Write a day in UTC; --json has the microsecond."""
    return "" if at_us is None else format_timestamp(at_us)[:10]


@keys.command()
@click.argument("key_id", metavar="ID")
@with_settings
def revoke(chosen: Chosen, key_id: str) -> None:
    """Take a key's rights away; within seconds it is refused."""
    key = _book(chosen).revoke(key_id)
    click.echo(f"key {key.id} is revoked")


def _book(chosen: Chosen) -> KeyBook:
    return KeyBook(places_of(chosen.settings).store(KEYS))


def _told(key: ApiKey) -> dict[str, Any]:
    return {name: value for name, value in asdict(key).items() if name != "secret_sha256"}

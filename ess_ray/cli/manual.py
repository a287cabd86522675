"""A manual page for `man`, of all commands of a group and what they say of themselves."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

FIXED = "\b"
"""What click marks a paragraph with that must not be filled."""


def manual_of(root: click.Group, name: str, version: str) -> str:
    """Write the page of `root`, called `name`. Ends with a newline."""
    lines = [
        f'.TH {name.upper()} 1 "" "ess_ray {_escaped(version)}" "User commands"',
        ".SH NAME",
        rf"{name} \- {_escaped(_paragraphs(root)[0].rstrip('.').lower())}",
        ".SH SYNOPSIS",
        rf".B {name}",
        r".I command",
        "[options] [arguments]",
        ".SH DESCRIPTION",
        *_body(_paragraphs(root)[1:]),
        ".SH COMMANDS",
    ]
    for path, command in _commands(root, (name,)):
        lines += _command(path, command)
    return "\n".join(lines) + "\n"


def _commands(group: click.Group, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group, info_name=path[-1])
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        if isinstance(command, click.Group):
            yield from _commands(command, (*path, name))
        else:
            yield (*path, name), command


def _command(path: tuple[str, ...], command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=" ".join(path))
    yield f".SS {_quoted(' '.join([*path, *command.collect_usage_pieces(context)]))}"
    yield from _body(_paragraphs(command))
    for parameter in command.get_params(context):
        head, text = parameter.get_help_record(context) or ("", "")
        if text and "--help" not in parameter.opts:  # an argument without a text is in the line above
            yield ".TP"
            yield rf".B {_quoted(head)}"
            yield _escaped(" ".join(text.split()))


def _paragraphs(command: click.Command) -> list[str]:
    return [one for one in inspect.cleandoc(command.help or "").split("\n\n") if one.strip()]


def _body(paragraphs: list[str]) -> Iterator[str]:
    for paragraph in paragraphs:
        yield ".PP"
        first, _, rest = paragraph.partition("\n")
        if first.strip() == FIXED:
            yield from (".nf", *map(_escaped, rest.split("\n")), ".fi")
        else:
            yield _escaped(" ".join(paragraph.split()))


def _escaped(text: str) -> str:
    """Write text that troff takes for text: signs with a meaning, and what at a line's start is a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    return f"\\&{text}" if text.startswith(".") else text


def _quoted(text: str) -> str:
    return '"' + _escaped(text).replace('"', '""') + '"'

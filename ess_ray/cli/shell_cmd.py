"""`ess completion` and `ess man`: what a shell and `man` want to know of all commands."""

from __future__ import annotations

from importlib import metadata
from typing import Final

import click
from click.shell_completion import get_completion_class

from ess_ray.cli.again import NAME
from ess_ray.cli.manual import manual_of

SHELLS: Final = ("bash", "zsh", "fish")
_VARIABLE: Final = f"_{NAME.upper()}_COMPLETE"


def _root() -> click.Group:
    root = click.get_current_context().find_root().command
    assert isinstance(root, click.Group)
    return root


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print what makes SHELL complete commands and options of `ess`.

    \b
    eval "$(ess completion bash)"                              # in ~/.bashrc
    eval "$(ess completion zsh)"                               # in ~/.zshrc
    ess completion fish > ~/.config/fish/completions/ess.fish
    """
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(_root(), {}, NAME, _VARIABLE).source())


@click.command()
def man() -> None:
    """Print the manual page of all commands.

    \b
    ess man | man -l -                                         # read it
    ess man > ~/.local/share/man/man1/ess.1                    # for `man ess`
    """
    click.echo(manual_of(_root(), NAME, metadata.version("ess_ray")), nl=False)

"""Which files a push is of, and each of them pushed: a folder's text files, those that a pattern names, standard
input.
"""

from __future__ import annotations

import glob
import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from io import BufferedReader
from typing import BinaryIO, Final, cast

import click

from ess_ray.cli.client import Client, Target
from ess_ray.cli.content import Content
from ess_ray.cli.file_push import Asked, Known, Phase, Tell, push_file, push_stream
from ess_ray.cli.output import progress, tell, visible
from ess_ray.cli.push_told import Told
from ess_ray.cli.registry import Entry, Registry, name_of
from ess_ray.cli.upload import Sender, Summary
from ess_ray.core.errors import BadRequest, EssError, NotFound

STDIN: Final = "-"
_GLOBS: Final = "*?["
_SHOWN_NAMES: Final = 5
"""Of a folder's, of those that are left out."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file to push. `in_folder`: nobody named it, so that it is left out where it is no text."""

    path: str
    in_folder: bool = False


def found_files(named: Sequence[str], say: Tell = tell) -> list[Found]:
    """Give the files that these names mean, each once, in order of path within each; `say` is told what is left out.
    Raises click.BadParameter for a name that means none."""
    files: dict[str, Found] = {}
    for name in named:
        for found in _meant(name, say):
            files.setdefault(STDIN if found.path == STDIN else os.path.realpath(found.path), found)
    return list(files.values())


def _meant(name: str, say: Tell) -> Iterator[Found]:
    if name == STDIN:
        yield Found(name)
    elif os.path.isdir(name):
        yield from _in_folder(name, say)
    elif os.path.exists(name):
        if not os.access(name, os.R_OK):
            raise click.BadParameter(f"{name} may not be read by you: correct its rights, or push it as another user")
        yield Found(name)
    elif any(mark in name for mark in _GLOBS):
        paths = sorted(glob.glob(name, recursive=True))
        if not paths:
            raise click.BadParameter(f"no file is named as {name} says")
        for path in paths:
            yield from _in_folder(path, say) if os.path.isdir(path) else _unnamed(path, say)
    else:
        raise click.BadParameter(f"{name} does not exist")


def _in_folder(folder: str, say: Tell) -> Iterator[Found]:
    """Give what is in a folder and those below it, which links to other folders are not followed for."""

    def unread(error: OSError) -> None:
        say(f"left out: {shown(str(error.filename))}: {error.strerror}")

    for parent, folders, files in os.walk(folder, onerror=unread):
        hidden = [each for each in (*folders, *files) if each.startswith(".")]
        if hidden:
            _say_left_out(say, parent, "hidden", hidden)
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        if links := [each for each in folders if os.path.islink(os.path.join(parent, each))]:
            _say_left_out(say, parent, "links to folders", links)
        for file in sorted(files):
            if not file.startswith("."):
                yield from _unnamed(os.path.join(parent, file), say)


def _say_left_out(say: Tell, folder: str, what: str, names: Sequence[str]) -> None:
    listed = ", ".join(map(shown, sorted(names)[:_SHOWN_NAMES]))
    say(f"left out in {shown(folder)}, since {what}: {listed}{', ...' * (len(names) > _SHOWN_NAMES)}")


def _unnamed(path: str, say: Tell) -> Iterator[Found]:
    """Give a file that nobody named; a pipe is none, which would be waited for until somebody writes to it."""
    if os.path.isfile(path):
        yield Found(path, in_folder=True)
    else:
        say(f"left out: {shown(path)}: it is no regular file, nor a link to one")


def shown(path: str) -> str:
    """Write a path for people: a name may be no text, and hold what would drive a terminal."""
    return visible(_as_text(path))


def _as_text(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "replace")


class _Counting:
    """Counts what was read, for the bar: a compressed file by its own bytes."""

    def __init__(self, raw: BufferedReader) -> None:
        self._raw, self.done = raw, 0

    def read(self, size: int = -1) -> bytes:
        # What a pipe has by now, rather than all that was asked for: it may be a log that is followed.
        part = self._raw.read1(size)
        self.done += len(part)
        return part

    def seek(self, offset: int) -> int:
        self.done = self._raw.seek(offset)
        return self.done


class Pusher:
    """Pushes files to one system, and takes down what became of them."""

    def __init__(self, client: Client, target: Target, asked: Asked, told: Told) -> None:
        self._client, self._target, self._asked, self._told = client, target, asked, told
        self._system: tuple[str, str] | None = None
        self._begun: set[str] = set()

    def all(self, files: Sequence[Found]) -> None:
        """Push each. What is wrong with one of several is told, and the next one is pushed; else it is raised:
        BadRequest for what cannot be pushed, EssError for what cannot be read to its end."""
        for found in files:
            where = shown(found.path) if len(files) > 1 else ""
            try:
                self._one(found, where)
            except _FileError as error:
                if not where:
                    raise error.error from error
                self.failed(error.error)

    def failed(self, error: EssError) -> None:
        """Take down that a file could not be pushed."""
        tell(f"Error: {error.message}")
        self._told.failed = True

    def _one(self, found: Found, where: str) -> None:
        with _named(found.path), ExitStack() as stack:
            raw = cast(BufferedReader, stack.enter_context(click.open_file(found.path, "rb")))
            status = None if found.path == STDIN else os.fstat(raw.fileno())
            regular = status is not None and stat.S_ISREG(status.st_mode)
            if found.in_folder and not self._is_text(found.path, raw, regular=regular):
                return
            total = status.st_size if status is not None and regular else None
            bar = stack.enter_context(progress(f"pushing {where}".strip(), total or None))
            counting = _Counting(raw)

            def show(so_far: Summary) -> None:
                bar(counting.done, f"{so_far.accepted:,}")

            if regular:
                self.file(found.path, cast(BinaryIO, counting), status, where, show=show)
            else:
                self._stream(cast(BinaryIO, counting), where, show)

    def _is_text(self, path: str, raw: BufferedReader, *, regular: bool) -> bool:
        """Tell whether a file that nobody named can be pushed; says so where not."""
        if not regular:
            return False
        try:
            Content(cast(BinaryIO, raw), self._asked.encoding)
        except ValueError as error:
            tell(f"left out: {shown(path)}: {str(error).partition(';')[0]}")
            return False
        raw.seek(0)
        return True

    def _stream(self, stream: BinaryIO, where: str, show: Callable[[Summary], None]) -> None:
        summary = Summary()
        try:
            with Sender(self._client, summary, show) as sender:
                position = push_stream(sender, summary, stream, self._asked, tell=tell, on_format=self._told.take_form)
            self._told.files += 1
            self._told.end(position, self._asked.encoding)
        finally:
            self._told.take(summary, None, where)

    def file(
        self,
        path: str,
        stream: BinaryIO,
        status: os.stat_result | None,
        where: str,
        *,
        show: Callable[[Summary], None] = lambda _: None,
        phase: Phase = Phase.WHOLE,
    ) -> None:
        """Push what is new in an open file, which stands at its start."""
        assert status is not None  # it is a file
        summary = Summary()
        before: Entry | None = None
        told, name = self._told, name_of(*self._whereto(), status.st_dev, status.st_ino)
        is_first = name not in self._begun
        asked = self._asked if is_first else replace(self._asked, again=False)
        self._begun.add(name)
        try:
            must = phase is not Phase.WHOLE
            with Sender(self._client, summary, show) as sender, _held(name, path, must=must) as kept:
                known = Known(name, kept, _as_text(os.path.abspath(path)))
                before, position = push_file(
                    sender, summary, stream, asked, known, tell=tell, on_format=told.take_form, phase=phase
                )
            told.files += is_first
            told.end(position, asked.encoding, f"{where}: " if where else "")
        finally:
            told.take(summary, before if is_first else None, where)

    def _whereto(self) -> tuple[str, str]:
        """Name the system and the tenant that this pushes to: by what lasts, where the system tells it."""
        if self._system is None:
            try:
                found = self._client.call_patiently("GET", "/push/v1/whoami", stop=threading.Event())
                self._system = str(found["log_id"]), str(found["tenant"])
            except NotFound:  # an older system
                key = self._target.settings.key
                digest = "" if key is None else hashlib.sha256(key.get_secret_value().encode()).hexdigest()
                self._system = self._target.url, digest
        return self._system


class _FileError(Exception):
    """What is wrong with one file; others may be pushed."""

    def __init__(self, error: EssError) -> None:
        super().__init__(error.message)
        self.error = error


@contextmanager
def _named(path: str) -> Iterator[None]:
    """Turn what is wrong with a file into a _FileError."""
    try:
        yield
    except ValueError as error:
        raise _FileError(BadRequest(f"{shown(path)}: {error}")) from error
    except (OSError, EOFError) as error:
        raise _FileError(EssError(f"{shown(path)} cannot be read to its end: {error}")) from error


@contextmanager
def _held(name: str, file: str, *, must: bool) -> Iterator[Registry | None]:
    """Hold a file's entry; None, and told, where this user can keep none (with `must`: raises EssError)."""
    registry = Registry.of_user()
    with ExitStack() as stack:
        waits = f"another ess push is at {file}: waiting for it"
        try:
            stack.enter_context(registry.held(name, lambda: tell(waits)))
        except OSError as error:
            why = (
                f"how far {file} is pushed cannot be kept in {registry.folder} ({error.strerror}), so that pushing it "
                "again stores it again: name a folder of yours in XDG_STATE_HOME"
            )
            if must:
                raise EssError(why) from error
            tell(why)
            registry = None  # type: ignore[assignment]
        yield registry

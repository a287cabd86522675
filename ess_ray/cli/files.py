"""Files that the user named: what went wrong with one, as one line that says what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ess_ray.core.errors import BadRequest, EssError

_NAMED_WRONG: Final = {
    errno.ENOENT: "its folder {folder} does not exist: make it (`mkdir -p {folder}`), or name another",
    errno.ENOTDIR: "{folder} is no folder: name another",
    errno.EEXIST: "{folder} is no folder: name another",
    errno.EISDIR: "it is a folder: name a file in it",
    errno.ENAMETOOLONG: "its name is too long: name another",
    errno.EINVAL: "the file system takes no such name: name another",
    errno.EACCES: "you may not write there: correct the rights of it and of {folder}, or name another",
    errno.EPERM: "you may not write there: correct the rights of it and of {folder}, or name another",
    errno.EROFS: "it lies on a read-only file system: name another",
}
"""What is wrong with the name: the same command fails again."""
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def not_written(name: str, error: OSError) -> EssError:
    """Say why a file that was to be written is not: BadRequest where its name is the reason."""
    return _error(f"{name} cannot be written", name, error)


def not_usable(error: OSError) -> EssError:
    """Say the same of whichever file an error names."""
    name = str(error.filename)
    if error.errno == errno.ENOENT and Path(name).parent.is_dir():
        return BadRequest(f"{name} cannot be used: it does not exist")
    return _error(f"{name} cannot be used", name, error)


@contextmanager
def writing(name: str) -> Iterator[None]:
    """Turn what goes wrong with a file that is written within into an EssError, but not that a pipe has no reader."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise not_written(name, error) from error


def _error(what: str, name: str, error: OSError) -> EssError:
    advice = _NAMED_WRONG.get(error.errno or 0)
    if advice is not None:
        return BadRequest(f"{what}: {advice.format(folder=Path(name).parent)}")
    if error.errno in _NO_ROOM:
        return EssError(f"{what}: there is no room for it ({error.strerror}): make room, or name another place")
    return EssError(f"{what} ({error.strerror or error}): name another place")

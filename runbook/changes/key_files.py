"""Files that hold a secret: made for their owner alone, before there is a secret to lose."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from checks.errors import RunbookError, UsageError
from runbook.timeline import open_timeline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from checks.target import Target

_FOLDER = "keys"
_OTHERS = 0o077
_MAX_SECRET = 4096


def choose_folder(target: Target, out: str) -> Path:
    """Return the folder for secrets: `out`, else `keys` beside the timeline; it may be missing.

    Raises:
        UsageError: It is no folder, or others may read or write it.
    """
    folder = Path(out).absolute() if out else open_timeline(target.name).path.parent / _FOLDER
    folder = folder.absolute()
    if not folder.exists():
        return folder
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder. Nothing was changed.", next_step="name another")
    if folder.stat().st_mode & _OTHERS:
        raise UsageError(
            f"{folder} is open to others, so no secret is put there. Nothing was changed.",
            next_step=f"chmod 700 {folder}, or give --out another folder",
            subject=str(folder),
        )
    return folder


@contextmanager
def open_secret(path: str) -> Iterator[TextIO]:
    """Make a new file that its owner alone may read and give it for writing.

    When nothing was written into it, it is removed again.

    Raises:
        RunbookError: It exists already, or cannot be made or written.
    """
    try:
        Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        handle = os.open(path, flags, 0o600)
    except OSError as error:
        raise RunbookError(
            f"The file {path} for the secret cannot be made: {error.strerror}. No key was issued.",
            next_step="free the disk, or give --out another folder",
            subject=path,
        ) from error
    with os.fdopen(handle, "w") as file:
        try:
            yield file
            _finish(file, path)
        finally:
            if os.fstat(file.fileno()).st_size == 0:
                Path(path).unlink(missing_ok=True)


def _finish(file: TextIO, path: str) -> None:
    try:
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    except OSError as error:
        raise RunbookError(
            f"The secret could not be written to {path}: {error.strerror}.",
            next_step="free the disk; then undo, and issue another key",
            subject=path,
        ) from error


def read_secret(path: str) -> str:
    """Return the secret in a file, "" when it cannot be read or is no plain file."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            return file.read(_MAX_SECRET).decode("ascii").strip()
    except (OSError, ValueError):
        return ""

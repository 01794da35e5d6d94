"""The staging's directory: who runs in it, and where its endpoints are written down."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import struct
import tempfile
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

# fcntl(2): struct flock of 64-bit Linux: type, whence, start, length, pid.
_FLOCK = struct.Struct("hhqqi4x")
# A socket's path has to fit into 108 bytes, and haproxy binds to a longer, temporary name first.
_LONGEST_SOCKET_FOLDER = 70


class AlreadyRunningError(Exception):
    """Another supervisor holds the directory."""


class StagingDirectory:
    """One directory, private to its owner, that at most one supervisor holds at a time."""

    def __init__(self, path: Path) -> None:
        """Speak of `path`; nothing is made before `hold`."""
        self.path = path.resolve()
        self.log = self.path / "supervisor.log"
        self._lock_file = self.path / "supervisor.lock"
        self._endpoints = self.path / "endpoints.json"
        self._held: IO[bytes] | None = None

    def prepare(self) -> None:
        """Make the directory when it is missing."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def hold(self) -> None:
        """Hold the directory until the process ends. Raise AlreadyRunningError.

        A record lock (fcntl(2)) ends with its process, whatever ends that; children do not
        inherit it; and the kernel tells who holds it. So neither a file that a crash left
        behind nor a process id used anew can be mistaken for a running staging.
        """
        self.prepare()
        held = self._lock_file.open("ab")
        try:
            fcntl.lockf(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            held.close()
            raise AlreadyRunningError(f"a staging runs in {self.path} already") from error
        self._held = held
        self._endpoints.unlink(missing_ok=True)

    def find_supervisor(self) -> int:
        """Return the process id of the supervisor that holds the directory, 0 when none does.

        Not for the holder itself: closing any handle of the file would give its lock up.
        """
        try:
            with self._lock_file.open("ab") as file:
                asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
                answer = _FLOCK.unpack(fcntl.fcntl(file, fcntl.F_GETLK, asked))
        except FileNotFoundError:
            return 0
        return 0 if answer[0] == fcntl.F_UNLCK else int(answer[4])

    def find_socket_folder(self) -> Path:
        """Return a folder for sockets: the directory, or a short stand-in for a long path."""
        if len(str(self.path)) <= _LONGEST_SOCKET_FOLDER:
            return self.path
        link = self.path / "sockets"
        if not (link.is_dir() and link.stat().st_uid == os.getuid()):
            link.unlink(missing_ok=True)
            link.symlink_to(tempfile.mkdtemp(prefix="staging-"))
        return link.readlink()

    def remove_socket_folder(self) -> None:
        """Remove the stand-in that `find_socket_folder` made, if it made one."""
        link = self.path / "sockets"
        if link.is_symlink():
            shutil.rmtree(link.readlink(), ignore_errors=True)
            link.unlink()

    def write_endpoints(self, endpoints: dict[str, Any]) -> None:
        """Write endpoints.json in one step, readable by the owner alone."""
        draft = self._endpoints.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(endpoints, file, indent=1)
        draft.replace(self._endpoints)

    def read_endpoints(self) -> dict[str, Any] | None:
        """Return what endpoints.json says, None when it is missing or no JSON object."""
        try:
            endpoints = json.loads(self._endpoints.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return endpoints if isinstance(endpoints, dict) else None

    def remove_endpoints(self) -> None:
        """Remove endpoints.json; ok when there is none."""
        self._endpoints.unlink(missing_ok=True)

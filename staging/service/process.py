"""Process settings that Linux offers through prctl(2)."""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_NAME_BYTES = 15  # TASK_COMM_LEN, less its terminating NUL


def _call_prctl(option: int, argument: int | bytes) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, argument, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when `parent_pid` ends.

    Exits at once when the parent ended before the request was in force. The signal is bound to
    the parent's thread that created this process (prctl(2)), so that must be a lasting one.
    """
    _call_prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)


def set_process_name(name: str) -> None:
    """Set the name that `ps -o comm` and `top` show, cut to the kernel's 15 bytes.

    It is the calling thread's: the process's own name is that of its first thread.
    """
    _call_prctl(_PR_SET_NAME, name.encode()[:_NAME_BYTES])

"""What `ps aux` prints, read: the processes of a container or of this machine."""

from __future__ import annotations

from dataclasses import dataclass

_COLUMNS = 11  # USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND
_KIB = 1024


@dataclass(frozen=True)
class Process:
    """A line of `ps aux`.

    Attributes:
        cpu_percent: CPU time over the whole life of the process, in percent of one vCPU.
        resident_bytes: Memory it holds.
        cpu_time: CPU time it took in all, as ps writes it.
    """

    pid: int
    user: str
    cpu_percent: float
    memory_percent: float
    resident_bytes: int
    state: str
    started: str
    cpu_time: str
    command: str


def parse_ps(text: str) -> list[Process]:
    """Return the processes in the output of `ps aux`, in its order; other lines are left out."""
    found = []
    for line in text.splitlines():
        words = line.split(None, _COLUMNS - 1)
        if len(words) < _COLUMNS or not words[1].isdigit():
            continue
        try:
            found.append(
                Process(
                    pid=int(words[1]),
                    user=words[0],
                    cpu_percent=float(words[2]),
                    memory_percent=float(words[3]),
                    resident_bytes=int(words[5]) * _KIB,
                    state=words[7],
                    started=words[8],
                    cpu_time=words[9],
                    command=words[10],
                )
            )
        except ValueError:
            continue
    return found

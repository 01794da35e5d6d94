"""Who an instance of the embedded staging is on this machine: its own answer to GET /health."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from checks.errors import ApiError, RunbookError
from checks.http import get_json
from checks.target import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterable

_DEADLINE_S = 2.0
_PARALLEL = 8


def read_pid(address: str, *, deadline_s: float = _DEADLINE_S) -> int:
    """Return the process id that the instance at `address`, a host and port here, tells.

    Raises:
        UnreachableError: No answer before the deadline, as from one that hangs.
        ApiError: The address is not of this machine, or the answer names no process.
    """
    url = f"http://{address}/health"
    if is_loopback(url):
        told = get_json(url, deadline_s=deadline_s).get("pid")
        if isinstance(told, int) and told > 1:
            return told
    raise ApiError(
        f"{url} tells no process of this machine.",
        status=200,
        next_step="invoke assess.cpu shows the instances",
        subject=address,
    )


def read_pids(addresses: Iterable[str]) -> dict[str, int]:
    """Return the process id by address, of those instances that answer."""

    def ask(address: str) -> int | None:
        try:
            return read_pid(address)
        except RunbookError:
            return None

    wanted = list(addresses)
    with ThreadPoolExecutor(_PARALLEL) as pool:
        found = zip(wanted, pool.map(ask, wanted), strict=True)
    return {address: pid for address, pid in found if pid is not None}

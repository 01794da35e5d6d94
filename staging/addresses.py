"""Loopback addresses and ports of one staging, so that a second one beside it shares none."""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SLOTS = 40
INSTANCE_PORT = 8000
# A socket bound here and never listened on says who holds the block; the kernel lets go of it
# with the process, however that ends.
_CLAIM_PORT = 7999
_BLOCKS = range(1, 255)
# Below Linux's ephemeral ports: no outgoing connection takes one between choosing and binding.
_FIRST_PORT = 21000
_PORT_NAMES = ("api", "service", "prometheus", "alertmanager", "control")


class NoAddressError(Exception):
    """No block of loopback addresses with free ports is left."""


@dataclass(frozen=True)
class Addresses:
    """Block 127.`block`.0.0/16 and five ports on 127.0.0.1, held until `release`."""

    block: int
    ports: dict[str, int]
    _claim: socket.socket = field(repr=False, compare=False)

    @property
    def instances(self) -> list[str]:
        """The addresses of the slots, in order, without a port."""
        return [f"127.{self.block}.1.{slot}" for slot in range(1, SLOTS + 1)]

    @property
    def claimed(self) -> tuple[str, int]:
        """Host and port that are bound and never listened on: they refuse every connection."""
        return f"127.{self.block}.0.1", _CLAIM_PORT

    def url(self, name: str) -> str:
        """Return the base URL of `api`, `service`, `prometheus`, `alertmanager` or `control`."""
        return f"http://127.0.0.1:{self.ports[name]}"

    def release(self) -> None:
        """Give the block back; a second call does nothing."""
        self._claim.close()


def claim_addresses() -> Addresses:
    """Return a block that no other staging holds and ports that nothing listens on.

    Raise NoAddressError when none of the 254 blocks is free.
    """
    reason = "254 stagings run already, or alike"
    for block in _search_order():
        claim = _try_bind(f"127.{block}.0.1", _CLAIM_PORT)
        if claim is None:
            continue
        first = _FIRST_PORT + block * len(_PORT_NAMES)
        ports = {name: first + index for index, name in enumerate(_PORT_NAMES)}
        if not _is_free(f"127.{block}.1.1", INSTANCE_PORT):
            reason = f"something listens on port {INSTANCE_PORT} of all addresses; stop it"
        elif all(_is_free("127.0.0.1", port) for port in ports.values()):
            return Addresses(block, ports, claim)
        claim.close()
    raise NoAddressError(f"no free block of loopback addresses: {reason}")


def _search_order() -> Iterator[int]:
    # Two stagings that start at once should not try the same blocks one after the other.
    start = os.getpid() % len(_BLOCKS)
    yield from (*_BLOCKS[start:], *_BLOCKS[:start])


def _try_bind(host: str, port: int) -> socket.socket | None:
    candidate = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        candidate.bind((host, port))
    except OSError:
        candidate.close()
        return None
    return candidate


def _is_free(host: str, port: int) -> bool:
    candidate = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # A connection in TIME_WAIT does not keep a server from the port.
    candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with contextlib.closing(candidate):
        try:
            candidate.bind((host, port))
        except OSError:
            return False
    return True

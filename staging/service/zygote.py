"""The warm parent of every instance: everything imported, one thread, forks on request.

Run as a program: JSON lines on standard input order forks, JSON lines on standard output report
forks and exits. A fork takes some milliseconds where a fresh interpreter takes 170 ms and 24 MB.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import socket
import sys
from typing import TYPE_CHECKING, NoReturn

import uvicorn.lifespan.on
import uvicorn.loops.asyncio
import uvicorn.protocols.http.httptools_impl  # noqa: F401 - uvicorn imports these by name at start

from staging.service.instance import Order, run_instance
from staging.service.process import die_with_parent, set_process_name
from staging.service.usage import UsageBoard

if TYPE_CHECKING:
    from collections.abc import Mapping

_READ_BYTES = 65536


def _fork_instance(order: Order, board: UsageBoard) -> int:
    zygote = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        die_with_parent(zygote)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        status = run_instance(order, board)
    finally:
        # Never return into the zygote's loop, nor run its exit handlers.
        os._exit(status)


def _reap_children() -> list[dict[str, int]]:
    exits: list[dict[str, int]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return exits
        if pid == 0:
            return exits
        exits.append({"exited": pid, "status": os.waitstatus_to_exitcode(status)})


def _report(message: Mapping[str, int | str]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


def _watch_children() -> socket.socket:
    waking, woken = socket.socketpair()
    for end in (waking, woken):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waking.detach(), warn_on_full_buffer=False)
    return woken


def _run(board: UsageBoard) -> NoReturn:
    woken = _watch_children()
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    selector.register(woken, selectors.EVENT_READ)
    pending = b""
    while True:
        ready = {key.fileobj for key, _ in selector.select()}
        if woken in ready:
            woken.recv(_READ_BYTES)
            for message in _reap_children():
                _report(message)
        if 0 in ready:
            data = os.read(0, _READ_BYTES)
            if not data:
                sys.exit(0)
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                order = Order(**json.loads(line))
                _report({"forked": _fork_instance(order, board), "name": order.name})


def main() -> NoReturn:
    """Serve fork orders until standard input closes: `zygote PARENT_PID BOARD_FD SLOTS`."""
    parent, descriptor, slots = map(int, sys.argv[1:])
    die_with_parent(parent)
    set_process_name("api-zygote")
    board = UsageBoard(descriptor, slots)
    gc.collect()
    gc.freeze()
    _run(board)


if __name__ == "__main__":
    main()

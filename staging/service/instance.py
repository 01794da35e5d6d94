"""One instance's process, from the fork to its exit."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import uvicorn

from staging.service.app import create_app, create_runtime
from staging.service.builds import find_build
from staging.service.logs import redirect_output, report_unhandled, write_log
from staging.service.process import set_process_name
from staging.service.settings import Limits, read_settings

if TYPE_CHECKING:
    from types import FrameType

    from staging.service.exchange import Runtime
    from staging.service.usage import UsageBoard

_BACKLOG = 512


@dataclass(frozen=True)
class Order:
    """What the zygote is told to start."""

    name: str
    slot: int
    address: str
    image: str
    environment: dict[str, str]
    cpu: float
    memory_bytes: int
    concurrency: int
    log_socket: str
    log_header: dict[str, str]

    def to_message(self) -> dict[str, object]:
        """Return the order as JSON data."""
        return asdict(self)


class _Server(uvicorn.Server):
    """A uvicorn server whose readiness turns as soon as the signal arrives."""

    runtime: Runtime

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Note the shutdown, then let uvicorn finish the requests in work."""
        self.runtime.shutting_down = True
        super().handle_exit(sig, frame)


def run_instance(order: Order, board: UsageBoard) -> int:
    """Serve until SIGTERM and return the exit status; 1 when the build or its settings fail.

    Call it in a process of its own: it replaces the environment and the standard streams.
    """
    set_process_name(f"api-{order.slot:02d} {order.environment['K_REVISION'][-9:]}")
    redirect_output(order.log_socket, order.log_header)
    faulthandler.enable()
    os.environ.clear()
    os.environ.update(order.environment)
    # uvicorn raises a caught signal again once it has shut down: that is this process's exit.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        asyncio.run(_serve(order, board))
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except Exception as error:  # noqa: BLE001 - the interpreter's own last resort, kept after a fork
        report_unhandled(error)
        write_log("CRITICAL", f"container failed to start: {type(error).__name__}")
        return 1
    return 0


async def _serve(order: Order, board: UsageBoard) -> None:
    limits = Limits(order.cpu, order.memory_bytes, order.concurrency)
    settings = read_settings(os.environ, limits, order.name, order.address)
    build = find_build(order.image)
    build.check_configuration(os.environ)
    runtime = create_runtime(settings, build)
    app = create_app(runtime, lambda share: board.write(order.slot, share))
    server = _Server(
        uvicorn.Config(
            app,
            host=settings.address,
            port=settings.port,
            loop="asyncio",
            http="httptools",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            backlog=_BACKLOG,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=settings.shutdown_timeout_s,
        )
    )
    server.runtime = runtime
    connections = server.server_state.connections
    runtime.metrics.connections.set_function(lambda: len(connections))
    await server.serve()

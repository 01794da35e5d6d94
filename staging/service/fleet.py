"""The fleet: one real process per instance, each at a loopback address of its own."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import secrets
import signal
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from staging.model import Instance, InstanceSpec, InstanceState, NoSlotError
from staging.service.builds import find_build
from staging.service.instance import Order
from staging.service.memory import read_used_bytes
from staging.service.settings import PORT
from staging.service.usage import UsageBoard
from staging.service.zygote_link import FleetClosedError, ZygoteLink

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    Listener = Callable[[Instance], Awaitable[None] | None]

_FORK_DEADLINE_S = 5.0
_KILL_DEADLINE_S = 5.0
_PROBE_EVERY_S = 0.01
_PROBE_DEADLINE_S = 0.5
_LOST = -int(signal.SIGKILL)
# A container that outgrows its memory is killed at once; reading 20 instances takes half a
# millisecond.
_MEASURE_EVERY_S = 0.2


@dataclass(frozen=True)
class FleetSettings:
    """Where instances live and what each of their environments holds besides the revision's own."""

    network: int
    log_socket: Path
    project: str
    region: str
    environment: Mapping[str, str] = field(default_factory=dict)
    slots: int = 40


class ProcessFleet:
    """Forks, watches and stops instances; `staging.model.Fleet` describes the shared part.

    An instance in slot N listens on 127.NETWORK.1.N:8000. Slots are taken in turn, least recently
    used first, so that a replacement shows as new series, as a new container does.
    """

    def __init__(self, settings: FleetSettings) -> None:
        """Describe the fleet; `open` starts its zygote."""
        self._settings = settings
        self._board = UsageBoard.create(settings.slots)
        self._free = deque(range(1, settings.slots + 1))
        self._instances: dict[int, Instance] = {}
        self._gone: dict[int, asyncio.Event] = {}
        self._forking: dict[str, tuple[Instance, asyncio.Event]] = {}
        self._abandoned: dict[str, int] = {}
        self._doomed: dict[int, int] = {}
        self._listeners: list[Listener] = []
        self._notices: set[asyncio.Future[None]] = set()
        self._lost = asyncio.Event()
        self._warden: asyncio.Task[None] | None = None
        self._zygote = ZygoteLink(self._note_fork, self._note_exit, self._note_loss)

    async def open(self) -> None:
        """Start the zygote; the calling thread must last, as its end would kill the zygote."""
        await self._zygote.open(self._board, self._settings.slots)
        self._warden = asyncio.create_task(self._enforce_memory(), name="memory limits")

    async def close(self) -> None:
        """Kill every instance and the zygote, and return when they are gone."""
        if self._warden is not None:
            self._warden.cancel()
        await self.kill_all()
        await self._zygote.close()
        await asyncio.gather(*self._notices, return_exceptions=True)
        self._board.close()

    async def watch(self, on_exit: Callable[[str], None]) -> None:
        """Return when the zygote ends, and with it every instance; call `on_exit` with a sentence.

        Cancel it before `close`.
        """
        await self._lost.wait()
        on_exit("the zygote ended by itself, and every instance with it")

    @property
    def zygote_pid(self) -> int | None:
        """The zygote's process id, or None while it does not run."""
        return self._zygote.pid

    async def start(self, spec: InstanceSpec) -> Instance:
        """Fork an instance and return it in state `starting`.

        Raises ImageNotFoundError, NoSlotError, FleetClosedError when the zygote is gone, and
        TimeoutError when it does not fork within 5 s.
        """
        find_build(spec.image)
        if not self._free:
            raise NoSlotError(f"all {self._settings.slots} slots are taken")
        slot = self._free.popleft()
        instance = self._describe(spec, slot)
        self._board.clear(slot)
        forked = asyncio.Event()
        try:
            self._zygote.order(self._make_order(instance))
        except FleetClosedError:
            self._free.append(slot)
            raise
        self._forking[instance.name] = (instance, forked)
        try:
            async with asyncio.timeout(_FORK_DEADLINE_S):
                await forked.wait()
        except BaseException:
            self._abandon(instance)
            raise
        if not instance.pid:
            raise FleetClosedError("the zygote ended before it forked this instance")
        return instance

    async def wait_ready(self, instance: Instance, deadline_s: float) -> bool:
        """Return whether a TCP connect succeeded before the deadline or the instance's exit."""
        give_up = time.monotonic() + deadline_s
        while instance.state == "starting" and time.monotonic() < give_up:
            if await _can_connect(instance.address):
                if instance.state == "starting":
                    self._change(instance, "ready")
                break
            await asyncio.sleep(_PROBE_EVERY_S)
        return instance.state == "ready"

    async def stop(self, instance: Instance, grace_s: float) -> None:
        """Send SIGTERM, SIGKILL when `grace_s` seconds have passed, and return when it is gone."""
        if instance.state == "exited":
            return
        gone = self._gone[instance.pid]
        self._change(instance, "stopping")
        self._signal(instance, signal.SIGTERM)
        try:
            async with asyncio.timeout(grace_s):
                await gone.wait()
        except TimeoutError:
            await self.kill(instance)

    async def kill(self, instance: Instance) -> None:
        """Send SIGKILL and return when the instance is gone; raise TimeoutError after 5 s."""
        self._signal(instance, signal.SIGKILL)
        gone = self._gone.get(instance.pid)
        if gone is not None:
            async with asyncio.timeout(_KILL_DEADLINE_S):
                await gone.wait()

    async def kill_all(self) -> None:
        """Kill every instance at once and return when all are gone."""
        await asyncio.gather(*(self.kill(instance) for instance in self.instances()))

    def freeze(self, instance: Instance) -> None:
        """Stop the process where it is (SIGSTOP): it accepts connections and answers none."""
        self._signal(instance, signal.SIGSTOP)

    def resume(self, instance: Instance) -> None:
        """Let a frozen process go on (SIGCONT)."""
        self._signal(instance, signal.SIGCONT)

    def instances(self, revision: str | None = None) -> list[Instance]:
        """Return the instances that have not exited, of one revision or of all."""
        every = self._instances.values()
        return [i for i in every if revision is None or i.spec.revision == revision]

    def usage(self, instance: Instance) -> float:
        """Return the busy share (0 to 1) of the instance's CPU over its last second.

        It is read from memory shared with the instance; 0 for a frozen or an exited one.
        """
        return self._board.read(instance.slot) if instance.state != "exited" else 0.0

    def memory(self, instance: Instance) -> int:
        """Return the bytes that the instance uses, as its container counts them; 0 once it ended.

        `staging.service.memory` says how one real byte counts.
        """
        with contextlib.suppress(OSError):
            return read_used_bytes(instance.pid) if instance.state != "exited" else 0
        return 0

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` after every change of an instance's state, exits included."""
        self._listeners.append(listener)

    async def _enforce_memory(self) -> None:
        while True:
            for instance in self.instances():
                used = self.memory(instance)
                if used > instance.spec.memory_bytes and instance.memory_at_kill is None:
                    instance.memory_at_kill = used
                    self._signal(instance, signal.SIGKILL)
            await asyncio.sleep(_MEASURE_EVERY_S)

    def _describe(self, spec: InstanceSpec, slot: int) -> Instance:
        name = spec.name or f"{spec.revision}-{secrets.token_hex(4)}"
        address = f"127.{self._settings.network}.1.{slot}:{PORT}"
        return Instance(name=name, spec=spec, slot=slot, address=address, pid=0)

    def _make_order(self, instance: Instance) -> Order:
        spec, settings = instance.spec, self._settings
        platform = {
            "K_SERVICE": spec.service,
            "K_REVISION": spec.revision,
            "K_CONFIGURATION": spec.service,
            "PORT": str(PORT),
            "GOOGLE_CLOUD_PROJECT": settings.project,
        }
        return Order(
            name=instance.name,
            slot=instance.slot,
            address=instance.address.partition(":")[0],
            image=spec.image,
            environment={**settings.environment, **spec.env, **platform},
            cpu=spec.cpu,
            memory_bytes=spec.memory_bytes,
            concurrency=spec.concurrency,
            log_socket=str(settings.log_socket),
            log_header={
                "instance": instance.name,
                "revision": spec.revision,
                "service": spec.service,
                "location": settings.region,
                "project": settings.project,
                "platform": spec.platform,
            },
        )

    def _signal(self, instance: Instance, number: signal.Signals) -> None:
        if instance.state != "exited":
            with contextlib.suppress(ProcessLookupError):
                os.kill(instance.pid, number)

    def _abandon(self, instance: Instance) -> None:
        # The process may come all the same: it keeps its slot until it was killed.
        if self._forking.pop(instance.name, None):
            self._abandoned[instance.name] = instance.slot
        else:
            self._signal(instance, signal.SIGKILL)

    def _note_fork(self, name: str, pid: int) -> None:
        waiting = self._forking.pop(name, None)
        if waiting is None:
            self._doomed[pid] = self._abandoned.pop(name)
            os.kill(pid, signal.SIGKILL)
            return
        instance, forked = waiting
        instance.pid = pid
        self._instances[pid] = instance
        self._gone[pid] = asyncio.Event()
        forked.set()
        self._tell(instance)

    def _note_exit(self, pid: int, status: int) -> None:
        instance = self._instances.pop(pid, None)
        if instance is None:
            if pid in self._doomed:
                self._free.append(self._doomed.pop(pid))
            return
        instance.exit_status = status
        self._free.append(instance.slot)
        self._change(instance, "exited")
        self._gone.pop(pid).set()

    def _note_loss(self) -> None:
        # The kernel kills every instance with its zygote.
        for pid in list(self._instances):
            self._note_exit(pid, _LOST)
        # An order that it had not carried out never will be: nobody waits for it any longer.
        for instance, forked in self._forking.values():
            self._free.append(instance.slot)
            forked.set()
        self._forking.clear()
        self._lost.set()

    def _change(self, instance: Instance, state: InstanceState) -> None:
        instance.state = state
        self._tell(instance)

    def _tell(self, instance: Instance) -> None:
        for listener in self._listeners:
            result = listener(instance)
            if inspect.isawaitable(result):
                notice = asyncio.ensure_future(result)
                self._notices.add(notice)
                notice.add_done_callback(self._notices.discard)


async def _can_connect(address: str) -> bool:
    host, _, port = address.partition(":")
    try:
        async with asyncio.timeout(_PROBE_DEADLINE_S):
            _, writer = await asyncio.open_connection(host, int(port))
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True

"""Keeps one revision's instances at the wanted number, with the platform's back-off."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from staging.model import Fleet, ImageNotFoundError, Instance, InstanceSpec, NoSlotError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from staging.cloud_run.models import Place, Revision
    from staging.cloud_run.platform_log import PlatformLog

# A container that fails once is replaced at once, then after 10, 20, 40 ... at most 300 s; ten
# good minutes forget it. Values of the Kubernetes kubelet: Cloud Run publishes none of its own.
BACKOFF_FIRST_S = 10.0
BACKOFF_MOST_S = 300.0
STABLE_S = 600.0
# SIGTERM to SIGKILL, https://cloud.google.com/run/docs/container-contract.
GRACE_S = 10.0
# Requests are not faster in a scaled world: one may wait 3 s in a busy instance's queue, and an
# instance is to finish what it has taken. One with nothing to do is gone long before.
GRACE_LEAST_S = 4.0
# Processes start no faster in a scaled world either: ten at once on a busy machine take seconds.
PROBE_LEAST_S = 15.0
# A rollout that finds no free slot waits for instances that are just ending: 150 s (scaled).
ATTEMPTS_WITHOUT_SLOT = 5
NO_SLOT = "The request was aborted because there was no available instance."
START_FAILED = (
    "The user-provided container failed to start and listen on the port defined provided by the"
    " PORT={port} environment variable within the allocated timeout. This can happen when the"
    " container port is misconfigured or if the timeout is too short. The health check timeout"
    " can be extended. Logs for this revision might contain more information."
)


@dataclass
class Member:
    """An instance with what the pool knows about it."""

    instance: Instance
    attempt: int
    since: float
    ready: bool = False


@dataclass(frozen=True)
class Platform:
    """What every pool works with."""

    fleet: Fleet
    place: Place
    log: PlatformLog
    # Turns a revision into the container that runs it; raises ImageNotFoundError.
    container_of: Callable[[Revision], InstanceSpec]
    changed: Callable[[], None]

    @property
    def grace_s(self) -> float:
        """Return the seconds between SIGTERM and SIGKILL here."""
        return max(self.place.seconds(GRACE_S), GRACE_LEAST_S)


class Backoff:
    """The waiting time between attempts to start a revision's containers."""

    def __init__(self, place: Place) -> None:
        """Start without a failure."""
        self._place = place
        self.attempt = 0
        self.failures = 0
        self._until = 0.0

    def remaining(self) -> float:
        """Return the seconds until the next attempt may be made."""
        return self._until - time.monotonic()

    def fail(self, attempt: int) -> None:
        """Count a failure, once for all the containers that were started in one `attempt`."""
        if attempt != self.attempt:
            return
        self.attempt += 1
        self.failures += 1
        if self.failures > 1:
            delay = min(BACKOFF_FIRST_S * 2 ** (self.failures - 2), BACKOFF_MOST_S)
            self._until = time.monotonic() + self._place.seconds(delay)

    def forgive(self, attempt: int, since: float) -> None:
        """Forget the failures when the newest attempt, made at `since`, went well long enough."""
        lasted = time.monotonic() - since
        if attempt == self.attempt and lasted > self._place.seconds(STABLE_S):
            self.failures = 0


class InstancePool:
    """The instances of one revision."""

    def __init__(self, revision: Revision, platform: Platform) -> None:
        """Want no instance yet; `run` does the work."""
        self.revision = revision
        self.desired = 0
        self.failure = ""
        self._platform = platform
        self._members: dict[str, Member] = {}
        self._backoff = Backoff(platform.place)
        self._reason = ""
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def want(self, count: int, reason: str) -> None:
        """Set how many instances there should be, and why (for the platform's log)."""
        if count != self.desired:
            if self.desired == 0:
                self.failure, self._backoff = "", Backoff(self._platform.place)
            self.desired, self._reason = count, reason
            self._wake.set()
            self._platform.changed()

    def ready(self) -> list[Instance]:
        """Return the instances whose startup probe passed and that still run."""
        return [member.instance for member in self._members.values() if member.ready]

    async def run(self) -> None:
        """Work until cancelled: start what is missing, stop what is too much."""
        while True:
            self._wake.clear()
            delay = await self._step()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), delay)

    async def _step(self) -> float | None:
        for member in self._members.values():
            self._backoff.forgive(member.attempt, member.since)
        missing = self.desired - len(self._members)
        if missing < 0:
            self._retire(-missing)
        unproven = self.revision.phase != "ready"
        if missing <= 0 or (unproven and self.failure):
            return None
        delay = self._backoff.remaining()
        if delay > 0:
            return delay
        attempt = self._backoff.attempt
        for _ in range(missing):
            if not await self._start(attempt):
                break
        return None if len(self._members) >= self.desired else max(self._backoff.remaining(), 0.0)

    async def _start(self, attempt: int) -> bool:
        try:
            spec = self._platform.container_of(self.revision)
            instance = await self._platform.fleet.start(spec)
        except ImageNotFoundError:
            image = self.revision.template.container.image
            self._fail(attempt, f"Image '{image}' not found.")
            self._platform.log.write("ERROR", f"Image '{image}' not found.", self.revision.name)
            return False
        except (NoSlotError, TimeoutError):
            patient = self._backoff.failures < ATTEMPTS_WITHOUT_SLOT
            self._fail(attempt, "" if patient else NO_SLOT)
            self._platform.log.write("ERROR", NO_SLOT, self.revision.name)
            return False
        member = Member(instance, attempt, time.monotonic())
        self._members[instance.name] = member
        self._platform.log.started(instance, self._reason)
        self._spawn(self._probe(member))
        return True

    async def _probe(self, member: Member) -> None:
        probe = self.revision.template.container.probe
        scaled = self._platform.place.seconds(probe.deadline_s)
        deadline = max(scaled, min(probe.deadline_s, PROBE_LEAST_S))
        passed = await self._platform.fleet.wait_ready(member.instance, deadline)
        if self._members.get(member.instance.name) is not member:
            return
        if passed:
            member.ready = True
            self._platform.changed()
            return
        self._platform.log.probe_failed(member.instance, probe.port)
        if member.instance.state == "exited":
            self.note_exit(member.instance)
            return
        del self._members[member.instance.name]
        self._fail(member.attempt, START_FAILED.format(port=probe.port))
        await self._platform.fleet.stop(member.instance, 0.0)

    def note_exit(self, instance: Instance) -> None:
        """Take note that an instance ended; one that was not asked to counts as a failure."""
        member = self._members.pop(instance.name, None)
        if member is None:
            return
        self._platform.log.exited(instance)
        port = self.revision.template.container.port
        self._fail(member.attempt, "" if member.ready else START_FAILED.format(port=port))

    def _fail(self, attempt: int, failure: str) -> None:
        self.failure = failure or self.failure
        self._backoff.fail(attempt)
        self._wake.set()
        self._platform.changed()

    def _retire(self, count: int) -> None:
        newest_first = sorted(self._members.values(), key=lambda m: (m.ready, -m.since))
        for member in newest_first[:count]:
            del self._members[member.instance.name]
            self._spawn(self._platform.fleet.stop(member.instance, self._platform.grace_s))

    def recycle(self) -> None:
        """Replace every instance, as the platform may do at any time."""
        self._retire(len(self._members))
        self._wake.set()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Cancel what is under way; the instances are left to whoever closes the pool."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

"""Measures how long requests take at a given load over capacity, on a staging of its own."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from staging.load.arrivals import Arrivals
from staging.load.profile import Profile
from staging.load.sender import Sender
from staging.load.statistics import Statistics
from staging.local_http import request_json
from staging.scaling.queueing import System, bound_pooled, find_quantile, predict
from staging.service.work import USUAL_COST_S

if TYPE_CHECKING:
    from collections.abc import Mapping

# Eight times the usual: what computers need beside the virtual CPU is little against it.
WEIGHT_FACTOR = 8.0
WARM_UP_S = 4.0
_READY_DEADLINE_S = 30.0
_IDLE_DEADLINE_S = 15.0
_QUIET_RATE = 2.0
_QUIET_S = 6.0


class _Durations(Statistics):
    """Keeps how long every answered request took that was sent after `begin`."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        super().__init__()
        self.begin = float("inf")
        self.taken: list[float] = []
        self.failed = 0

    def note_answer(self, tenant: str, status: int, origin: str, duration_s: float) -> None:
        """Keep an answer of the service; one that it gave without the work is a failure."""
        super().note_answer(tenant, status, origin, duration_s)
        if time.monotonic() - duration_s < self.begin:
            return
        if status in {200, 500}:
            # The half percent of 500 that is nature's: the work was done all the same.
            self.taken.append(duration_s)
        else:
            self.failed += 1

    def note_failure(self, tenant: str, outcome: str, duration_s: float) -> None:
        """Count a request without an answer."""
        super().note_failure(tenant, outcome, duration_s)
        self.failed += time.monotonic() - duration_s >= self.begin


class Bench:
    """One staging, whose own load rests while this one measures."""

    def __init__(self, endpoints: Mapping[str, Any], keys: Mapping[str, str]) -> None:
        """Take what endpoints.json says, and the tenants' keys."""
        self._endpoints = endpoints
        self._keys = keys
        self._overhead_s = 0.0

    def prepare(self) -> None:
        """Let the staging's own load rest, and measure what a request takes beside its CPU."""
        url = f"{self._endpoints['control']}/load"
        request_json(url, method="POST", body={"rate": 0})
        self._scale(2)
        quiet = asyncio.run(self._send(_QUIET_RATE, _QUIET_S))
        self._overhead_s = max(0.0, statistics.median(quiet.taken) - self._service_s())

    def measure(self, instances: int, rhos: list[float], seconds: float) -> list[dict[str, object]]:
        """Return measured and predicted 95th percentiles of a number of instances, in seconds.

        The keys are instances, rho, requests, failed, p95_s, predicted_s, low_s, high_s, pooled_s.
        Raise TimeoutError when the instances do not come.
        """
        self._scale(instances)
        return [self._measure_point(instances, rho, seconds) for rho in rhos]

    def _measure_point(self, instances: int, rho: float, seconds: float) -> dict[str, object]:
        system = System(instances, rho, self._service_s())
        kept = asyncio.run(self._send(system.rate, seconds))
        expected = predict(system, warm_up_s=WARM_UP_S, seconds=seconds)
        seen = {
            "p95_s": find_quantile(kept.taken, 0.95),
            "predicted_s": expected.median_s + self._overhead_s,
            "low_s": expected.low_s + self._overhead_s,
            "high_s": expected.high_s + self._overhead_s,
            "pooled_s": bound_pooled(system) + self._overhead_s,
        }
        return {
            "instances": instances,
            "rho": rho,
            "requests": len(kept.taken) + kept.failed,
            "failed": kept.failed,
            **{name: round(value, 4) for name, value in seen.items()},
        }

    async def _send(self, rate: float, seconds: float) -> _Durations:
        address = urlsplit(self._endpoints["service_url"])
        sender = Sender(str(address.hostname), address.port or 0)
        sender.statistics = kept = _Durations()
        chance = random.Random(1)  # noqa: S311 - repeatable load, no secret
        profile = Profile(self._keys, chance)
        arrivals = Arrivals(lambda: sender.send(profile.draw(WEIGHT_FACTOR)), chance, rate)
        sending = asyncio.create_task(arrivals.run())
        await asyncio.sleep(WARM_UP_S)
        kept.begin = time.monotonic()
        await asyncio.sleep(seconds)
        sending.cancel()
        async with asyncio.timeout(_IDLE_DEADLINE_S):
            await sender.wait_idle()
        return kept

    def _service_s(self) -> float:
        return USUAL_COST_S * WEIGHT_FACTOR / self._read_cpu()

    def _read_cpu(self) -> float:
        limits = request_json(self._service_url())["template"]["containers"][0]["resources"]
        return float(limits["limits"]["cpu"])

    def _service_url(self) -> str:
        place = self._endpoints
        return (
            f"{place['api']}/v2/projects/{place['project']}"
            f"/locations/{place['region']}/services/{place['service']}"
        )

    def _scale(self, instances: int) -> None:
        bounds = {"minInstanceCount": instances, "maxInstanceCount": instances}
        body = {"template": {"scaling": bounds}}
        request_json(
            f"{self._service_url()}?updateMask=template.scaling", method="PATCH", body=body
        )
        deadline = time.monotonic() + _READY_DEADLINE_S
        while not self._is_settled(instances):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{instances} instances did not become ready")
            time.sleep(0.2)

    def _is_settled(self, instances: int) -> bool:
        status = request_json(f"{self._endpoints['control']}/status")
        serving = max(status["traffic"], key=lambda name: status["traffic"][name])
        found = [(item["revision"], item["state"]) for item in status["instances"]]
        settled = found == [(serving, "ready")] * instances
        latest = request_json(self._service_url())["latestReadyRevision"]
        return settled and latest.endswith(f"/{serving}")

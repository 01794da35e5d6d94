"""Cloud Run on real processes behind a real HTTP server, for tests over the wire."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

import requests
from google.api_core.future.polling import DEFAULT_POLLING
from google.auth.credentials import AnonymousCredentials
from google.cloud import run_v2
from starlette.applications import Starlette

from staging.addresses import Addresses, claim_addresses
from staging.cloud_run import CloudRun, routes
from staging.service.builds import list_images
from staging.service.fleet import FleetSettings, ProcessFleet
from staging.service.keys import create_admin_key
from staging.serving import LocalServer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from pathlib import Path

    from staging.model import Instance

PROJECT, NUMBER, REGION = "convergence-local", "123456789012", "us-central1"
SERVICE = "convergence-data-pipeline"
NAME = f"projects/{PROJECT}/locations/{REGION}/services/{SERVICE}"
REPOSITORY = "us-docker.pkg.dev/convergence/pipeline/api"
DEADLINE_S = 30.0
TIME_SCALE = 60.0
FAST = DEFAULT_POLLING.with_delay(initial=0.02, maximum=0.2, multiplier=1.5)
_Result = TypeVar("_Result")


class _KeptLog:
    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []

    def write(self, entry: dict[str, Any]) -> None:
        self.entries.append(entry)


class CloudRunServer:
    """The control plane, its fleet and its HTTP port, in an event loop of their own."""

    def __init__(
        self,
        directory: Path,
        time_scale: float = TIME_SCALE,
        *,
        rollback_clears_failure: bool = False,
    ) -> None:
        """Keep the instances' admin key in `directory`."""
        self._rollback_clears_failure = rollback_clears_failure
        self._freezes = False
        self.log = _KeptLog()
        self.splits: list[dict[str, int]] = []
        self._addresses: Addresses = claim_addresses()
        self.port = self._addresses.ports["api"]
        self.url = f"http://127.0.0.1:{self.port}"
        admin_key = create_admin_key(directory / "admin-key")
        settings = FleetSettings(self._addresses.block, directory / "no.sock", PROJECT, REGION)
        self._fleet = ProcessFleet(settings)
        self._time_scale = time_scale
        # Nothing listens there: these instances' health is their open port.
        database = f"http://127.0.0.1:{self._addresses.ports['prometheus']}"
        self._environment = {"BIGQUERY_ENDPOINT": database, "ADMIN_KEY_FILE": str(admin_key)}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        """Bring the baseline up and listen."""
        self._thread.start()
        self.run(self._start())

    async def _start(self) -> None:
        await self._fleet.open()
        self.cloud_run = CloudRun(
            self._fleet,
            project=PROJECT,
            project_number=NUMBER,
            region=REGION,
            time_scale=self._time_scale,
            set_split=self._keep_split,
            log=self.log,
            default_env=self._environment,
            images=list_images(),
            rollback_clears_failure=self._rollback_clears_failure,
        )
        self._fleet.subscribe(self._freeze_new)
        self._server = LocalServer(
            Starlette(routes=routes(self.cloud_run)), self._addresses.ports["api"]
        )
        await self.cloud_run.start()
        await self._server.start()

    def freeze_new_instances(self, freezes: bool) -> None:
        """Stop each new process before it listens, as if it hung while starting."""
        self._freezes = freezes

    def _freeze_new(self, instance: Instance) -> None:
        if self._freezes and instance.state == "starting":
            os.kill(instance.pid, signal.SIGSTOP)

    def _keep_split(self, shares: Mapping[str, int]) -> None:
        self.splits.append(dict(shares))

    def stop(self) -> None:
        """Close everything and end the loop's thread."""
        self.run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_S)
        self._loop.close()
        self._addresses.release()

    async def _stop(self) -> None:
        await self._server.stop()
        await self.cloud_run.stop()
        await self._fleet.close()

    def run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Run a coroutine in the server's loop and return what it returns."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(DEADLINE_S)

    def reset(self) -> float:
        """Go back to the baseline; return the seconds that took."""
        started = time.monotonic()
        self.run(self.cloud_run.reset())
        took = time.monotonic() - started
        self.log.entries.clear()
        self.splits.clear()
        return took

    def instances(self, revision: str | None = None) -> list[Instance]:
        """Return the instances that run, of one revision or of all."""

        async def look() -> list[Instance]:
            return self._fleet.instances(revision)

        return self.run(look())

    def kill(self, instance: Instance) -> None:
        """Kill an instance's process, as a crash would."""
        os.kill(instance.pid, signal.SIGKILL)

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:  # noqa: ANN401
        """Return the answer to one HTTP request."""
        return requests.request(method, f"{self.url}{path}", timeout=DEADLINE_S, **options)

    def v1(self, path: str = f"services/{SERVICE}") -> dict[str, Any]:
        """Return a v1 object, which must be there."""
        answer = self.ask("GET", f"/apis/serving.knative.dev/v1/namespaces/{PROJECT}/{path}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def put(self, body: Mapping[str, Any], query: str = "") -> requests.Response:
        """Return the answer to a v1 replaceService."""
        path = f"/apis/serving.knative.dev/v1/namespaces/{PROJECT}/services/{SERVICE}"
        return self.ask("PUT", path + query, json=body)

    def v2(self) -> dict[str, Any]:
        """Return the v2 service."""
        path = f"/v2/projects/{PROJECT}/locations/{REGION}/services/{SERVICE}"
        found: dict[str, Any] = self.ask("GET", path).json()
        return found

    def clients(self) -> tuple[run_v2.ServicesClient, run_v2.RevisionsClient]:
        """Return Google's own clients, which speak to this server."""
        options: dict[str, Any] = {
            "transport": "rest",
            "credentials": AnonymousCredentials(),  # type: ignore[no-untyped-call]
            "client_options": {"api_endpoint": self.url},
        }
        return run_v2.ServicesClient(**options), run_v2.RevisionsClient(**options)

    def served(self) -> dict[str, int]:
        """Return {revision: percent} as status.traffic has it."""
        traffic = self.v1()["status"]["traffic"]
        return {item["revisionName"]: item.get("percent", 0) for item in traffic}


def wait_for(
    question: Callable[[], _Result | None], what: str, deadline_s: float = 15.0
) -> _Result:
    """Return the first true answer; fail with `what` when there is none before the deadline."""
    give_up = time.monotonic() + deadline_s
    while time.monotonic() < give_up:
        answer = question()
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError(f"not within {deadline_s} s: {what}")

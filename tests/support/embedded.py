"""A running embedded staging as tests see it: started as a program, spoken to over the wire."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

REPOSITORY = Path(__file__).resolve().parents[2]
START_DEADLINE_S = 60.0
REQUEST_DEADLINE_S = 10.0
COMMAND_DEADLINE_S = 120.0


@dataclass(frozen=True)
class Invocation:
    """What a command of the runbook printed, and its exit code."""

    command: str
    returncode: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def output(self) -> str:
        """Return both streams, as a terminal shows them."""
        return self.stderr + self.stdout

    def json(self) -> Any:  # noqa: ANN401  # the shape is the step's
        """Return the standard output as data; raise AssertionError when it is not JSON."""
        try:
            return json.loads(self.stdout)
        except ValueError as error:
            message = f"{self.command} printed no JSON: {self.output[:2000]}"
            raise AssertionError(message) from error


class Embedded:
    """One embedded staging with a state folder of its own."""

    def __init__(self, time_scale: float) -> None:
        # Not pytest's folder: a unix socket's path may have at most 107 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix="staging-"))
        self.state = self.directory / "runbook"
        self.time_scale = time_scale
        self.endpoints: dict[str, Any] = {}

    def start(self) -> None:
        """Start the program; raise AssertionError with its output when it does not come up."""
        rules = str(REPOSITORY / "checks" / "alerts.yml")
        done = self._staging("up", "--rules", rules, "--time-scale", str(self.time_scale))
        assert done.returncode == 0, done.stdout + done.stderr
        self.read_endpoints()

    def read_endpoints(self) -> None:
        """Read anew where everything listens, and which platform serves."""
        self.endpoints = json.loads((self.directory / "endpoints.json").read_text())

    def stop(self) -> None:
        """Stop it and remove its folder; raise AssertionError when it does not stop."""
        done = self._staging("down")
        assert done.returncode == 0, done.stdout + done.stderr
        shutil.rmtree(self.directory)

    def _staging(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "staging", *arguments, "--dir", str(self.directory)],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=START_DEADLINE_S,
            check=False,
        )

    def control(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the control API's answer: GET without a body, POST with one."""
        url = self.endpoints["control"] + path
        if body is None:
            answer = requests.get(url, timeout=REQUEST_DEADLINE_S)
        else:
            answer = requests.post(url, json=body, timeout=START_DEADLINE_S)
        assert answer.ok, f"{path}: {answer.status_code} {answer.text}"
        found: dict[str, Any] = answer.json()
        return found

    def reset(self, platform: str = "cloud_run") -> None:
        """Bring a platform's clean baseline back, the runbook's own record included."""
        self.control("/reset", {"platform": platform})
        self.read_endpoints()
        shutil.rmtree(self.state, ignore_errors=True)

    @property
    def platform(self) -> str:
        """What the service runs on now: `cloud_run` or `kubernetes`."""
        return str(self.endpoints["platform"])

    def environment(self) -> dict[str, str]:
        """Return the environment in which the runbook acts on this staging and no other."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("RUNBOOK_", "INVOKE_"))}
        return kept | {
            "RUNBOOK_TARGET": "local",
            "RUNBOOK_STAGING_DIR": str(self.directory),
            "RUNBOOK_STATE_DIR": str(self.state),
            "NO_COLOR": "1",
            "COLUMNS": "100",
        }

    def invoke(self, *arguments: str, deadline_s: float = COMMAND_DEADLINE_S) -> Invocation:
        """Run a command of the runbook as a responder's shell would, without a terminal."""
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "invoke", *arguments],
            cwd=REPOSITORY,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=deadline_s,
            check=False,
        )
        seconds = time.monotonic() - started
        command = " ".join(["invoke", *arguments])
        return Invocation(command, done.returncode, done.stdout, done.stderr, seconds)

    def alerts(self) -> dict[str, str]:
        """Return the active alerts by name with their state, `pending` or `firing`."""
        url = self.endpoints["prometheus"] + "/api/v1/alerts"
        answer = requests.get(url, timeout=REQUEST_DEADLINE_S)
        answer.raise_for_status()
        return {a["labels"]["alertname"]: a["state"] for a in answer.json()["data"]["alerts"]}

    def is_firing(self, alert: str) -> bool:
        """Return whether the real Prometheus says that `alert` fires."""
        return self.alerts().get(alert) == "firing"

    def read_service(self) -> dict[str, Any]:
        """Return the Cloud Run service as v2's `services.get` gives it."""
        place = self.endpoints
        path = (
            f"/v2/projects/{place['project']}/locations/{place['region']}"
            f"/services/{place['service']}"
        )
        answer = requests.get(place["api"] + path, timeout=REQUEST_DEADLINE_S)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def read_deployment(self) -> dict[str, Any]:
        """Return the Deployment as the Kubernetes API gives it."""
        place = self.endpoints
        path = f"/apis/apps/v1/namespaces/{place['namespace']}/deployments/{place['deployment']}"
        answer = requests.get(place["api"] + path, timeout=REQUEST_DEADLINE_S)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def read_policy(self) -> list[dict[str, Any]]:
        """Return the rules of the security policy as compute's `securityPolicies.get` gives it."""
        place = self.endpoints
        path = (
            f"/compute/v1/projects/{place['project']}"
            f"/global/securityPolicies/{place['security_policy']}"
        )
        answer = requests.get(place["api"] + path, timeout=REQUEST_DEADLINE_S)
        answer.raise_for_status()
        rules: list[dict[str, Any]] = answer.json()["rules"]
        return rules

    def read_version(self) -> tuple[str, list[dict[str, Any]]]:
        """Return what any change of the configuration in force would alter."""
        if self.platform == "kubernetes":
            return str(self.read_deployment()["metadata"]["generation"]), self.read_policy()
        return str(self.read_service()["etag"]), self.read_policy()

    def read_load(self) -> dict[str, Any]:
        """Return what the tenants' clients see, over their last five seconds."""
        found: dict[str, Any] = self.control("/status")["load"]
        return found

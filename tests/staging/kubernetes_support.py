"""Running the real kubectl against a staging that runs its service on Kubernetes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from tests.support.embedded import REPOSITORY, Embedded

DEADLINE_S = 30.0
NAME = "convergence-data-pipeline"
DEPLOYMENT = f"deployment/{NAME}"
REPOSITORY_OF_IMAGES = "us-docker.pkg.dev/convergence/pipeline/api"
PROGRAMS = {"1.32": "kubectl", "1.37": str(REPOSITORY / ".venv" / "bin" / "kubectl")}


@dataclass(frozen=True)
class Done:
    """What kubectl printed, and its exit code."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def lines(self) -> list[str]:
        """Return the lines of the standard output."""
        return self.stdout.splitlines()


class Kubectl:
    """One version of kubectl, bound to one staging."""

    def __init__(self, staging: Embedded, program: str) -> None:
        """Use the kubeconfig of `staging` alone."""
        self.staging = staging
        self.program = program
        cache = staging.directory / f"kube-cache-{len(program)}"
        self.environment = os.environ | {
            "KUBECONFIG": staging.endpoints["kubeconfig"],
            "KUBECACHEDIR": str(cache),
            "HOME": str(staging.directory),
        }

    def run(self, *arguments: str) -> Done:
        """Run kubectl with these arguments."""
        done = subprocess.run(
            [self.program, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def ok(self, *arguments: str) -> Done:
        """Run kubectl; raise AssertionError with its output when it fails."""
        done = self.run(*arguments)
        assert done.returncode == 0, f"{' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done

    def refuse(self, *arguments: str) -> str:
        """Return what kubectl says against it; raise AssertionError when it goes through."""
        done = self.run(*arguments)
        assert done.returncode != 0, f"{' '.join(arguments)} went through: {done.stdout}"
        return done.stderr

    def read(self, *arguments: str) -> Any:  # noqa: ANN401 - any JSON value
        """Return an object or a list as kubectl prints it with `-o json`."""
        return json.loads(self.ok(*arguments, "-o", "json").stdout)

    def deployment(self) -> dict[str, Any]:
        """Return the Deployment."""
        found: dict[str, Any] = self.read("get", DEPLOYMENT)
        return found

    def pods(self) -> list[dict[str, Any]]:
        """Return the pods that are not ending."""
        items = self.read("get", "pods")["items"]
        return [item for item in items if "deletionTimestamp" not in item["metadata"]]

    def roll_out(self) -> list[str]:
        """Wait for the rollout under way; return what kubectl said meanwhile."""
        return self.ok("rollout", "status", DEPLOYMENT, "--timeout=20s").lines


def find_kubectl(version: str, staging: Embedded) -> Kubectl:
    """Return a version's kubectl; skip the test where it is not installed."""
    program = shutil.which(PROGRAMS[version])
    if program is None:
        pytest.skip(f"kubectl {version} is not installed here")
    return Kubectl(staging, program)


def send(
    staging: Embedded,
    method: str,
    path: str,
    **options: Any,  # noqa: ANN401 - requests' own
) -> requests.Response:
    """Return the API's answer to a plain request."""
    return requests.request(
        method, f"{staging.endpoints['api']}{path}", timeout=DEADLINE_S, **options
    )

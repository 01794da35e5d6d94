"""Running a step's line by hand with the vendors' real programs against embedded staging."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.support.embedded import Embedded

DEADLINE_S = 90.0
Facts = dict[str, Any]


@dataclass(frozen=True)
class ByHand:
    """What a line typed by hand printed, its exit code, and how long it took."""

    line: str
    returncode: int
    stdout: str
    stderr: str
    seconds: float


Comparison = Callable[[list[ByHand], Facts], None]


def vendor_environment(staging: Embedded) -> dict[str, str]:
    """Return the environment in which the real gcloud speaks to this staging and no one else."""
    place = staging.endpoints
    port = place["api"].rsplit(":", 1)[1]
    settings = {
        "CLOUDSDK_CONFIG": str(staging.directory / "gcloud"),
        "CLOUDSDK_CORE_PROJECT": place["project"],
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_SURVEY_DISABLE_PROMPTS": "true",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
        # By host and port alone it would take one staging's kinds for another's.
        "KUBECACHEDIR": str(staging.directory / "kubectl-by-hand"),
        "CLOUDSDK_PROXY_TYPE": "http_no_tunnel",
        "CLOUDSDK_PROXY_ADDRESS": "127.0.0.1",
        "CLOUDSDK_PROXY_PORT": port,
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_RUN": "http://run.googleapis.com/",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING": "http://logging.googleapis.com/",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": "http://compute.googleapis.com/compute/v1/",
    }
    return {k: v for k, v in os.environ.items() if not k.startswith("CLOUDSDK_")} | settings


def bq_environment(staging: Embedded) -> dict[str, str]:
    """Return the environment in which the real bq speaks to this staging: it takes no proxy."""
    settings = {
        "HOME": str(staging.directory),
        "CLOUDSDK_CONFIG": str(staging.directory / "bq"),
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
        "CLOUDSDK_AUTH_ACCESS_TOKEN": "none-is-needed-here",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_BIGQUERY": f"{staging.endpoints['api']}/",
    }
    return {k: v for k, v in os.environ.items() if not k.startswith("CLOUDSDK_")} | settings


def run_by_hand(staging: Embedded, argv: list[str], line: str) -> ByHand:
    """Run one line; skip the test, on the record as not verified, where its program is missing."""
    if shutil.which(argv[0]) is None:
        pytest.skip(f"{argv[0]} is not installed here, so this line is not verified: {line}")
    began = time.monotonic()
    done = subprocess.run(
        argv,
        env=(bq_environment if argv[0] == "bq" else vendor_environment)(staging),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=DEADLINE_S,
        check=False,
    )
    return ByHand(line, done.returncode, done.stdout, done.stderr, time.monotonic() - began)


def worst(answer: str, label: str) -> str:
    """Return the label of the series with the highest rate in Prometheus' answer."""
    series = json.loads(answer)["data"]["result"]
    return str(max(series, key=lambda one: float(one["value"][1]))["metric"][label])

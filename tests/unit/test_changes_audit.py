"""The audit entry: it arrives, it never stops a change, and it asks no metadata server."""

from __future__ import annotations

import socket
import time
from dataclasses import replace

import pytest
import requests

from checks.target import Target
from runbook.changes import audit
from tests.support.embedded import Embedded
from tests.unit.hostile_api import serve
from tests.unit.service_json import TARGET


@pytest.mark.staging
def test_entry_arrives(staging: Embedded) -> None:
    """A finished change can be found in Cloud Logging under the runbook's own log."""
    done = staging.invoke("mitigate.restart", "--json")
    assert done.returncode == 0, done.output
    project = staging.endpoints["project"]
    answer = requests.post(
        staging.endpoints["api"] + "/v2/entries:list",
        json={
            "resourceNames": [f"projects/{project}"],
            "filter": f'logName="projects/{project}/logs/{audit.LOG_NAME}"',
        },
        timeout=10,
    )
    told = [entry["jsonPayload"] for entry in answer.json()["entries"] if "jsonPayload" in entry]
    assert done.json()["change"] in [payload.get("change") for payload in told]


@pytest.mark.parametrize("behaviour", ["503", "html", "silent"])
def test_logging_that_fails_stops_nothing(behaviour: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within its deadline it gives up, and says so."""
    monkeypatch.setattr(audit, "DEADLINE_S", 2.0)
    with serve(behaviour) as api:
        began = time.monotonic()
        arrived = audit.write_entry(replace(TARGET, api=api.url), {"step": "mitigate.restart"})
        assert time.monotonic() - began < 10
    assert not arrived


def test_no_look_up_of_the_metadata_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library still has the function that is switched off, and asks no other host."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def note(host: str, *args: object, **more: object) -> object:
        asked.append(host)
        return real(host, *args, **more)  # type: ignore[arg-type]

    with serve("not-json") as api:
        monkeypatch.setattr(socket, "getaddrinfo", note)
        target: Target = replace(TARGET, api=api.url)
        audit.write_entry(target, {"step": "mitigate.restart"})
    assert set(asked) == {"127.0.0.1"}

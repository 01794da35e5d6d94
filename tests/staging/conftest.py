"""What most tests of Cloud Run start from; a module about another system has its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.staging.cloud_run_support import CloudRunServer


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudRunServer]:
    """Return a module's own Cloud Run, whatever state it is in."""
    server = CloudRunServer(tmp_path_factory.mktemp("cloud-run"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def server(running: CloudRunServer) -> CloudRunServer:
    """Return Cloud Run at its baseline."""
    running.reset()
    return running

"""Cloud Run: the v2 REST API and Knative v1, two faces of one store, on real processes."""

from staging.cloud_run.control_plane import CloudRun
from staging.cloud_run.fidelity import describe_fidelity
from staging.cloud_run.routes import routes

__all__ = ["CloudRun", "describe_fidelity", "routes"]

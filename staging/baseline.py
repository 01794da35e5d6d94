"""The service in its normal state, whatever platform runs it."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

SERVICE: Final = "convergence-data-pipeline"
REPOSITORY: Final = "us-docker.pkg.dev/convergence/pipeline/api"
BASELINE_IMAGES: Final = (f"{REPOSITORY}:1.4.1", f"{REPOSITORY}:1.4.2")
# How long before the baseline its revisions were made: a day and a week.
BASELINE_AGES: Final = (timedelta(days=7), timedelta(days=1))
PORT: Final = 8000
INSTANCES: Final = 2
CPU: Final = "2"
MEMORY: Final = "4Gi"
# What the team's template sets beside the service's own defaults, on both platforms.
ENVIRONMENT: Final = (
    ("METADATA_LOG_WORKERS", "5"),
    ("METADATA_LOG_QUEUE_SIZE", "1000"),
)

"""What the cluster is and how fast its clock runs."""

from __future__ import annotations

from dataclasses import dataclass

CLUSTER = "convergence"
CONTAINER = "app"
NODE = "gke-convergence-default-pool-embedded"
# kubectl picks its own version by it.
SERVER_VERSION = "v1.32.4"


@dataclass(frozen=True)
class Clock:
    """Turns the platform's seconds into those of this staging."""

    time_scale: float

    def seconds(self, real: float) -> float:
        """Return how long `real` seconds of the platform take here."""
        return real / self.time_scale

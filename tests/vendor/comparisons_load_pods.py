"""What the lines by hand of slow requests share with their step's answer, on Kubernetes."""

from __future__ import annotations

from tests.support.vendor import Comparison
from tests.vendor.comparisons_load import compare_slow_endpoints

PLATFORM = "kubernetes"
FAULT = "slow-reads"
ALERT = "HighLatencyP95"
COMPARISONS: dict[str, Comparison] = {"assess.slow-endpoints": compare_slow_endpoints}

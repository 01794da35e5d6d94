"""What gcloud tells of the requests that pods refused, beside the step."""

from __future__ import annotations

from tests.support.vendor import Comparison
from tests.vendor.comparisons_limits import compare_limited_tenants

PLATFORM = "kubernetes"
FAULT = "tenant-spike"
ALERT = "RateLimitExceeded"
COMPARISONS: dict[str, Comparison] = {"assess.rate-limited-tenants": compare_limited_tenants}

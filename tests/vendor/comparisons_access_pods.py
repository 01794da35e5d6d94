"""What gcloud tells of pods' refused keys, beside the step."""

from __future__ import annotations

from tests.support.vendor import Comparison
from tests.vendor.comparisons_access import compare_auth_sources

PLATFORM = "kubernetes"
FAULT = "credential-spray"
ALERT = "HighAuthFailureRate"
COMPARISONS: dict[str, Comparison] = {"assess.auth-sources": compare_auth_sources}

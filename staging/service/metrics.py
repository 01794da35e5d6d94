"""The service's metrics by their production names, each really kept.

Not exported yet, because nothing here would maintain them: `bigquery_bytes_processed_total`,
`bigquery_quota_used_percent` and `system_disk_*`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from staging.service.counter import LabelledCounter
from staging.service.histogram import LabelledHistogram
from staging.service.memory import read_used_bytes
from staging.service.tenants import UNKNOWN_TENANT, list_pipelines, list_tenants

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from prometheus_client.metrics_core import Metric
    from prometheus_client.samples import Sample

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_PRECREATED_STATUS: Final = ("200", "500", "503")
# On both sides of 0.5, 1 and 2.5 s, the thresholds of the latency alerts.
_REQUEST_BUCKETS: Final = (
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.4,
    0.5,
    0.75,
    1.0,
    1.5,
    2.0,
    2.5,
    3.5,
    5.0,
)
# Coarse: it is there to tell tenants apart, and there are many of them.
_TENANT_BUCKETS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
# On both sides of 1800 s, the threshold of PipelineDurationExceeded.
_PIPELINE_BUCKETS: Final = (0.1, 0.5, 1, 5, 30, 120, 600, 1200, 1800, 2400, 3600)
# On both sides of 30 s, the threshold of BigQuerySlowQueries.
_QUERY_BUCKETS: Final = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 20, 30, 45, 60, 300)
# On both sides of 10 s, the threshold of MetadataLogLatency.
_FLUSH_BUCKETS: Final = (0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 7.5, 10, 15, 30)

disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """One instance's registry; every series carries the constant label `revision`."""

    def __init__(self, instance: str, revision: str) -> None:
        """Create every metric, labelled with the instance's revision."""
        self._revision = revision
        self._prefixes: dict[tuple[str, ...], str] = {}
        self.registry = registry = CollectorRegistry()
        self._create_request_metrics(registry)
        self._create_pipeline_metrics(registry)
        self._create_dependency_metrics(registry)
        self._create_system_metrics(registry)
        info = Gauge(
            "convergence_instance_info", "The instance.", ["instance_id"], registry=registry
        )
        info.labels(instance).set(1)

    def _create_request_metrics(self, registry: CollectorRegistry) -> None:
        self.requests = LabelledCounter(
            "http_requests_total",
            "API requests; health checks and scrapes are not counted.",
            ["tenant_id", "method", "path", "status_code"],
        )
        self.request_duration = LabelledHistogram(
            "http_request_duration_seconds", "API requests' duration.", "path", _REQUEST_BUCKETS
        )
        self.tenant_duration = LabelledHistogram(
            "tenant_request_duration_seconds",
            "API requests' duration by tenant.",
            "tenant_id",
            _TENANT_BUCKETS,
        )
        self.auth_failures = Counter(
            "auth_failures", "Refused API keys.", ["tenant_id"], registry=registry
        )
        self.auth_failures.labels(UNKNOWN_TENANT)

    def _create_pipeline_metrics(self, registry: CollectorRegistry) -> None:
        labels = ["tenant_id", "pipeline_id"]
        self.executions = Counter(
            "pipeline_executions", "Executions ended.", [*labels, "status"], registry=registry
        )
        self.execution_duration = Histogram(
            "pipeline_execution_duration_seconds",
            "Executions' duration.",
            buckets=_PIPELINE_BUCKETS,
            registry=registry,
        )
        self.last_success = Gauge(
            "pipeline_execution_last_success_timestamp",
            "When an execution last succeeded, in seconds since the epoch.",
            labels,
            registry=registry,
        )
        self.retries = Counter("pipeline_retries", "Retries asked for.", registry=registry)
        for tenant in list_tenants():
            for pipeline in list_pipelines(tenant):
                for status in ("success", "failed"):
                    self.executions.labels(tenant, pipeline.pipeline_id, status)

    def _create_dependency_metrics(self, registry: CollectorRegistry) -> None:
        self.queries = Counter("bigquery_queries", "Calls of BigQuery's API.", registry=registry)
        self.query_errors = Counter("bigquery_errors", "Calls that failed.", registry=registry)
        self.query_duration = Histogram(
            "bigquery_query_duration_seconds",
            "Calls' duration.",
            buckets=_QUERY_BUCKETS,
            registry=registry,
        )
        self.queue_size = Gauge(
            "metadata_log_queue_size", "Records waiting to be written.", registry=registry
        )
        self.flush_errors = Counter(
            "metadata_log_flush_errors", "Writes that failed.", registry=registry
        )
        self.flush_duration = Histogram(
            "metadata_log_flush_duration_seconds",
            "A batch's way to BigQuery, its retries included.",
            buckets=_FLUSH_BUCKETS,
            registry=registry,
        )

    def _create_system_metrics(self, registry: CollectorRegistry) -> None:
        self.cpu_percent = Gauge(
            "system_cpu_usage_percent", "Busy share of the container's CPU.", registry=registry
        )
        self.memory_total = Gauge(
            "system_memory_total_bytes", "The container's memory limit.", registry=registry
        )
        self.connections = Gauge("active_connections", "Open connections.", registry=registry)
        memory = Gauge(
            "system_memory_usage_bytes", "The container's memory in use.", registry=registry
        )
        memory.set_function(read_used_bytes)
        started = Gauge(
            "process_start_time_seconds",
            "When the process started, in seconds since the epoch.",
            registry=registry,
        )
        started.set(time.time())

    def create_series(self, method: str, path: str) -> None:
        """Create a route's series at 0: a rate needs the sample before the first error."""
        self.request_duration.create(path)
        for tenant in list_tenants():
            for status in _PRECREATED_STATUS:
                self.requests.create(tenant, method, path, status)

    def render(self) -> bytes:
        """Return the registry in Prometheus' text format 0.0.4.

        `generate_latest` takes several times as long, and a scrape comes four times a second:
        here the label part of a line is formatted once.
        """
        lines: list[str] = []
        for collected in self.registry.collect():
            name = _find_name(collected)
            lines.append(f"# HELP {name} {collected.documentation}")
            lines.append(f"# TYPE {name} {collected.type}")
            lines += self._render_samples(collected.samples)
        for family in (self.requests, self.request_duration, self.tenant_duration):
            lines += family.render(self._format_labels)
        return ("\n".join(lines) + "\n").encode()

    def _render_samples(self, samples: Iterable[Sample]) -> list[str]:
        lines = []
        for sample in samples:
            key = (sample.name, *sample.labels.values())
            prefix = self._prefixes.get(key)
            if prefix is None:
                prefix = self._prefixes[key] = self._format_prefix(sample)
            lines.append(f"{prefix} {sample.value!r}")
        return lines

    def _format_prefix(self, sample: Sample) -> str:
        return f"{sample.name}{self._format_labels(sample.labels)}"

    def _format_labels(self, labels: Mapping[str, str]) -> str:
        pairs = ",".join(
            f'{name}="{_escape(value)}"'
            for name, value in {**labels, "revision": self._revision}.items()
        )
        return f"{{{pairs}}}"


def _find_name(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")

"""Cloud Logging for embedded staging: real log entries and the real query language.

Sources: https://cloud.google.com/logging/docs/view/logging-query-language and
https://cloud.google.com/logging/docs/reference/v2/rest. `fidelity` says what differs.
"""

from staging.cloud_logging.collector import Collector
from staging.cloud_logging.fidelity import describe_fidelity
from staging.cloud_logging.routes import routes
from staging.cloud_logging.store import LogStore

__all__ = ["Collector", "LogStore", "describe_fidelity", "routes"]

"""Cloud Logging for embedded staging: real log entries and the real query language.

Sources: https://cloud.google.com/logging/docs/view/logging-query-language and
https://cloud.google.com/logging/docs/reference/v2/rest. `fidelity` says what differs.
"""

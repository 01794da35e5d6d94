"""The command line's namespaces; the tasks themselves live in `runbook/`, one module a step."""

from runbook.catalogue import collect

namespace = collect()

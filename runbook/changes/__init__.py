"""Changes to a running system, each in five parts: plan, record, apply, verify, undo."""

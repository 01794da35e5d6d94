"""How latency grows with load over capacity: measured on a running staging, and predicted."""

"""The Convergence Data Pipeline as real processes: one per instance, forked from a warm parent."""

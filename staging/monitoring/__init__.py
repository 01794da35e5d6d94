"""Prometheus and Alertmanager as production runs them, on a shorter clock."""

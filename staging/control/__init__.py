"""Beside the product: staging's status, its faults, and the way back to a clean baseline."""

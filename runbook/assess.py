"""Assess: what is going on, who is hit, and what changed. Nothing here changes anything."""

from __future__ import annotations

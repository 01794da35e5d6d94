"""Embedded staging: real processes behind the real APIs, run as a program of its own."""

"""Reads only: nothing in here changes anything, so anyone may run any of it at any time."""

"""Binds every scenario of every feature to its steps."""

from pytest_bdd import scenarios

scenarios(".")

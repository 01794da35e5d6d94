"""Prints what embedded staging is not: a Markdown table an API, from the APIs' own descriptions."""

import sys
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).resolve().parent


def describe_all() -> str:
    """Return a heading and a table for every package that has a `fidelity` module."""
    sections = []
    for path in sorted(HERE.glob("*/fidelity.py")):
        rows = import_module(f"staging.{path.parent.name}.fidelity").describe_fidelity()
        title = rows[0].split("|")[1].strip()
        sections.append("\n".join([f"## {title}", "", *rows]))
    return "\n\n".join(sections)


if __name__ == "__main__":
    sys.stdout.write(f"{describe_all()}\n")

"""How true embedded staging is: asked from staging itself, which nothing here imports."""

import subprocess
import sys
from pathlib import Path

from runbook.pages.text import PageError

DEADLINE_S = 60


def read_fidelity(root: Path) -> str:
    """Return staging's own description of itself in Markdown: a heading and a table an API.

    Raises:
        PageError: staging did not describe itself in time, or says nothing.

    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", "staging.fidelity"],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=True,
        )
    except subprocess.SubprocessError as error:
        raise PageError(f"staging does not say what it is not: {error}") from error
    if not done.stdout.strip():
        raise PageError("staging has no API that says what it is not")
    return done.stdout

"""Build the site, or read it while writing."""

import os
import sys
import time
from pathlib import Path

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

ROOT = Path(__file__).resolve().parent.parent
WATCHED = ("docs", "runbook", "checks", "features", "results")


@task(
    auto_shortflags=False,
    help={"strict": "fail on any warning (default)", "to": "folder to write (default: site)"},
)
def build(_c: Context, strict: bool = True, to: str = "site") -> None:
    """Write the site as plain files that work from a folder, without a server."""
    import subprocess

    started = time.monotonic()
    folder = (ROOT / to).resolve()
    own = folder in {ROOT / name for name in (*WATCHED, "tests", "staging", ".git", ".venv")}
    if own or folder == ROOT or folder in ROOT.parents:
        raise Exit(f"{to!r} would be emptied by the build; name a folder of its own.", code=2)
    arguments = ["build", "--clean", "--site-dir", str(folder), *(["--strict"] if strict else [])]
    done = subprocess.run(_mkdocs(*arguments), cwd=ROOT, env=_environment(), check=False)
    if done.returncode != 0:
        raise Exit("The site was not built; the first error above names the page.", code=1)
    pages = sum(page.name != "404.html" for page in folder.rglob("*.html"))
    print(f"{pages} pages in {time.monotonic() - started:.1f} s: {folder / 'index.html'}")  # noqa: T201


@task(auto_shortflags=False, help={"port": "port on this machine (default: 8000)"})
def serve(_c: Context, port: int = 8000) -> None:
    """Show the site on this machine and rebuild it when a page, step, feature or result changes."""
    import subprocess

    watched = [part for name in WATCHED if (ROOT / name).is_dir() for part in ("--watch", name)]
    command = _mkdocs("serve", "--livereload", "--dev-addr", f"127.0.0.1:{port}", *watched)
    try:
        done = subprocess.run(
            command, cwd=ROOT, env={**_environment(), "RUNBOOK_SITE_LIVE": "1"}, check=False
        )
    except KeyboardInterrupt:
        return
    if done.returncode != 0:
        raise Exit(f"The site is not served; is port {port} taken? Try --port.", code=1)


def _mkdocs(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "mkdocs", *arguments]


def _environment() -> dict[str, str]:
    # Without it each build prints a page about MkDocs 2, which the lock file keeps out.
    return {**os.environ, "NO_MKDOCS_2_WARNING": "1"}

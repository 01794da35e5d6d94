"""Reading the project's own source: which files there are, and what stands in them."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("runbook", "checks", "staging", "tests")
GIT_DEADLINE_S = 30


def python_files(root: Path, *packages: str) -> list[Path]:
    """Return the Python files of `packages` below `root`; without packages, of the project."""
    chosen = packages or PACKAGES
    found = sorted(path for package in chosen for path in (root / package).rglob("*.py"))
    top = root / "tasks.py"
    return [top, *found] if not packages and top.exists() else found


@cache
def parse(path: Path) -> ast.Module:
    """Return the file's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def place(root: Path, path: Path, line: int = 0) -> str:
    """Return where something stands, as editors like it: `runbook/step.py:12`."""
    shown = path.relative_to(root).as_posix()
    return f"{shown}:{line}" if line else shown


def tracked_files(root: Path) -> list[Path]:
    """Return what a clone would hold: tracked files, and new ones that are not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=GIT_DEADLINE_S,
        check=True,
    ).stdout
    return sorted(path for name in listed.split("\0") if name and (path := root / name).is_file())


def read_text(path: Path) -> str:
    """Return the file's text, or nothing where it is no text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def imported_names(tree: ast.Module, package: str) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name of everything that a module imports, wherever it does.

    `package` is the dotted package that relative imports start from.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1])
            name = ".".join(part for part in (base if node.level else "", node.module) if part)
            # `from . import x` climbs out of the tree at the top: the names tell where to.
            yield from ((node.lineno, name or alias.name) for alias in node.names)
        elif isinstance(node, ast.Call) and called_name(node) in {"import_module", "__import__"}:
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield node.lineno, first.value


def called_name(call: ast.Call) -> str:
    """Return the last part of what is called: `run` for `subprocess.run(...)`."""
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    """Yield every call in `tree`."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function and method in `tree`."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return (node for node in ast.walk(tree) if isinstance(node, kinds))


def strings(tree: ast.AST) -> Iterator[str]:
    """Yield every string constant in `tree`, the parts of f-strings too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value

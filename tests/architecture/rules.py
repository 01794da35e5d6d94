"""The house's rules: each returns the places that break it, in the tree below `root`."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import yaml

from tests.architecture.source import (
    PACKAGES,
    called_name,
    calls,
    functions,
    imported_names,
    parse,
    place,
    python_files,
    read_text,
    strings,
)

MAY_IMPORT = {
    "tasks": {"runbook"},
    "runbook": {"runbook", "checks"},
    "checks": {"checks"},
    "staging": {"staging"},
    "tests": {"tests", "staging", "checks", "runbook", "tasks"},
}
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 40
MAX_TASKS_LINES = 80
SIZED = {".py", ".js", ".css", ".sh", ".md", ".feature", ".toml"}

# The endpoints that Google's APIs read through although their verb is POST.
READ_BY_POST = ("entries:list", ":getIamPolicy", ":testIamPermissions", "/queries")
DOOR = "http.py"
PROGRAM_DOOR = "kubectl.py"  # refuses every verb of kubectl that could change something
CHANGING_VERBS = {"put", "patch", "delete"}
CHANGING_IMPORTS = {"subprocess", "shutil", "sqlite3", "tempfile", "multiprocessing", "ctypes"}
CHANGING_CALLS = {
    *("write_text", "write_bytes", "unlink", "rmdir", "mkdir", "makedirs", "touch", "rename"),
    *("symlink_to", "hardlink_to", "chmod", "remove", "removedirs", "truncate", "system", "popen"),
    *("exec", "eval", "fork", "putenv", "setxattr", "link", "symlink"),
}
CHANGING_METHOD = re.compile(r"(create|update|delete|insert|patch|cancel|write|undelete)_\w+")
SHELLS = {"system", "popen", "getoutput", "getstatusoutput", "create_subprocess_shell"}
# Where this project may have been worked on; assembled so that the pattern is no such path.
MACHINE_PATHS = re.compile(r"(?<![\w.}$])/(?:work|root|farm|home/\w+|Users/\w+|tmp)/[\w.-]+")
ADDRESS = re.compile(
    r"://|^\s*(?:-i|--index-url|--extra-index-url|-f|--find-links)\b", re.MULTILINE
)


def find_wrong_imports(root: Path) -> list[str]:
    """Return imports against the one direction: tasks, runbook, checks; staging apart."""
    found = []
    for path in python_files(root):
        parts = path.relative_to(root).with_suffix("").parts
        allowed = MAY_IMPORT[parts[0]]
        package = ".".join(parts[:-1])
        found += [
            f"{place(root, path, line)} imports {name}"
            for line, name in imported_names(parse(path), package)
            if (top := name.split(".")[0]) in {*PACKAGES, "tasks"} and top not in allowed
        ]
    return found


def find_long_files(root: Path, files: list[Path]) -> list[str]:
    """Return files of 400 lines and more; what others wrote and data are not ours to cut."""
    own = [path for path in files if is_own_source(root, path)]
    sizes = {path: len(read_text(path).splitlines()) for path in own}
    return [
        f"{place(root, path)} has {size} lines"
        for path, size in sizes.items()
        if size >= MAX_FILE_LINES
    ]


def is_own_source(root: Path, path: Path) -> bool:
    """Return whether the file is source that people of this project write."""
    parts = path.relative_to(root).parts
    return (path.suffix in SIZED or parts == ("inv",)) and not {"vendor", "data"} & set(parts[:-1])


def find_long_functions(root: Path) -> list[str]:
    """Return functions of 40 lines and more, docstring included, decorators not."""
    return [
        f"{place(root, path, node.lineno)} {node.name} has {size} lines"
        for path in python_files(root)
        for node in functions(parse(path))
        if (size := (node.end_lineno or node.lineno) - node.lineno + 1) >= MAX_FUNCTION_LINES
    ]


def find_shells(root: Path) -> list[str]:
    """Return calls that hand a string to a shell: injection waits there."""
    found = []
    for path in python_files(root):
        for call in calls(parse(path)):
            through_shell = any(
                keyword.arg == "shell"
                and not (isinstance(keyword.value, ast.Constant) and not keyword.value.value)
                for keyword in call.keywords
            )
            # invoke's own context runs everything through a shell.
            by_context = called_name(call) in {"run", "sudo"} and is_named(call, "c", "ctx")
            by_name = called_name(call) in SHELLS and isinstance(call.func, ast.Attribute)
            if through_shell or by_context or by_name:
                found.append(f"{place(root, path, call.lineno)} {ast.unparse(call)[:60]}")
    return found


def is_named(call: ast.Call, *names: str) -> bool:
    """Return whether the call is a method of a variable with one of `names`."""
    function = call.func
    return (
        isinstance(function, ast.Attribute)
        and isinstance(function.value, ast.Name)
        and function.value.id in names
    )


def find_writes(root: Path) -> list[str]:
    """Return what in `checks` could change anything: it only reads, by anyone at any time."""
    found = []
    for path in python_files(root, "checks"):
        tree = parse(path)
        found += [
            f"{place(root, path, line)} imports {name}"
            for line, name in imported_names(tree, "checks")
            if (
                name.split(".")[0] in CHANGING_IMPORTS
                and not (name == "subprocess" and path.name == PROGRAM_DOOR)
            )
            or (
                name.split(".")[0] in {"requests", "urllib", "http", "google"}
                and path.name != DOOR
                and name != "urllib.parse"
            )
        ]
        found += [
            f"{place(root, path, call.lineno)} {ast.unparse(call)[:60]}"
            for call in calls(tree)
            if changes_something(call)
        ]
        found += [f"{place(root, path)} {text}" for text in find_wide_scopes(tree)]
        if path.name != DOOR:
            found += [
                f"{place(root, path, node.lineno)} {node.name} posts to no known read endpoint"
                for node in functions(tree)
                if posts(node) and not any(text.endswith(READ_BY_POST) for text in strings(node))
            ]
    return found


def changes_something(call: ast.Call) -> bool:
    """Return whether a call writes a file, starts a program or sends a changing request."""
    name = called_name(call)
    texts = [arg.value for arg in call.args if isinstance(arg, ast.Constant)]
    texts += [word.value.value for word in call.keywords if isinstance(word.value, ast.Constant)]
    method = isinstance(call.func, ast.Attribute)
    if name == "open":
        # A path's open() takes the mode first, the built-in one takes the file first.
        modes = [str(text) for text in (texts if method else texts[-1:] * (len(texts) > 1))]
        modes += [
            str(w.value.value)
            for w in call.keywords
            if w.arg == "mode" and isinstance(w.value, ast.Constant)
        ]
        return any(set(mode) & set("wax+") for mode in modes)
    if name == "replace":
        return len(call.args) == 1  # a path's; a string's takes two
    changing = name in CHANGING_CALLS or name in CHANGING_VERBS or CHANGING_METHOD.fullmatch(name)
    return (method and bool(changing)) or any(
        isinstance(text, str) and text in {"PUT", "PATCH", "DELETE"} for text in texts
    )


def posts(node: ast.AST) -> bool:
    """Return whether a function sends a POST."""
    return any(
        called_name(call) in {"post_json", "post"}
        or (called_name(call) == "fetch" and any(word.arg == "payload" for word in call.keywords))
        for call in calls(node)
    )


def find_wide_scopes(tree: ast.Module) -> list[str]:
    """Return OAuth scopes with which a bug could write."""
    return [
        text
        for text in strings(tree)
        if "googleapis.com/auth/" in text and not text.endswith(("read-only", "readonly"))
    ]


def find_machine_paths(root: Path, files: list[Path]) -> list[str]:
    """Return places that name a folder of somebody's machine."""
    return [
        f"{place(root, path, number)} {match.group()}"
        for path in files
        for number, line in enumerate(read_text(path).splitlines(), 1)
        if (match := MACHINE_PATHS.search(line))
    ]


def find_lock_faults(lock: str) -> list[str]:
    """Return what is wrong with requirements.lock: an address, or a package without a hash."""
    found = [f"it names an address: {match.group()}" for match in ADDRESS.finditer(lock)]
    entries = re.split(r"\n(?=\S)", lock.strip())
    return found + [
        f"it pins no hash for {entry.splitlines()[0]}"
        for entry in entries
        if not entry.startswith("#") and not ("==" in entry and "--hash=sha256:" in entry)
    ]


def alert_names(root: Path) -> dict[str, set[str]]:
    """Return the alerts by the place that names them: rules, features and pages."""
    rules = yaml.safe_load((root / "checks" / "alerts.yml").read_text(encoding="utf-8"))
    return {
        "checks/alerts.yml": {
            rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule
        },
        "features": {path.stem for path in (root / "features").glob("*.feature")},
        "docs/alerts": {path.stem for path in (root / "docs" / "alerts").glob("*.md")} - {"index"},
    }


def find_drift(names: dict[str, set[str]]) -> list[str]:
    """Return each name that some place lacks, with the places that have it."""
    return [
        f"{name} is missing in {place_}"
        for name in sorted(set().union(*names.values()))
        for place_, known in names.items()
        if name not in known
    ]


def find_unlisted_modules(root: Path, listed: set[str]) -> list[str]:
    """Return modules of the runbook that define tasks and that no namespace lists."""
    found = []
    for path in python_files(root, "runbook"):
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        decorators = [d for node in functions(parse(path)) for d in node.decorator_list]
        names = {called_name(d) if isinstance(d, ast.Call) else ast.unparse(d) for d in decorators}
        if names & {"task", "step"} and name not in listed:
            found.append(f"{place(root, path)} defines tasks and is in no namespace")
    return found

"""The measurement as a program: `python -m staging.scaling --dir DIR`, a JSON line a point."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from staging import supervisor_client as client
from staging.local_http import LocalHttpError
from staging.scaling.measure import Bench
from staging.supervisor_directory import StagingDirectory

INSTANCES = (2, 5, 10)
RHOS = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
# Embedded staging's usual pace.
_TIME_SCALE = 60.0


def main() -> int:
    """Measure in a staging of its own; return 0, or 1 when it fails."""
    options = _build_parser().parse_args()
    directory = StagingDirectory(options.dir)
    if directory.find_supervisor():
        sys.stderr.write(f"a staging runs in {directory.path}; name another --dir\n")
        return 1
    try:
        client.start(directory, options.rules, _TIME_SCALE, lambda _: None)
        try:
            _measure(directory, options)
        finally:
            client.stop(directory, lambda _: None)
    except (client.StagingError, LocalHttpError, TimeoutError) as error:
        sys.stderr.write(f"not measured: {error}\n")
        return 1
    return 0


def _measure(directory: StagingDirectory, options: argparse.Namespace) -> None:
    endpoints = directory.read_endpoints() or {}
    keys = json.loads(Path(endpoints["api_key_file"]).read_text())
    bench = Bench(endpoints, keys)
    bench.prepare()
    for instances in options.instances:
        for point in bench.measure(instances, options.rho, options.seconds):
            sys.stdout.write(json.dumps(point) + "\n")
            sys.stdout.flush()


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m staging.scaling", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="where the staging is kept")
    parser.add_argument("--rules", type=Path, default=Path("checks/alerts.yml"))
    parser.add_argument("--seconds", type=float, default=15.0, help="how long a point is measured")
    parser.add_argument("--instances", type=int, nargs="+", default=INSTANCES)
    parser.add_argument("--rho", type=float, nargs="+", default=RHOS)
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""The load as a program: `python -m staging.load PARENT_PID HOST PORT KEYS_FILE SOURCE SEED`.

Commands are JSON lines on standard input, each answered by one on standard output,
where the load's status also comes four times a second.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from pathlib import Path
from typing import Any

from staging.load.generator import Generator
from staging.load.profile import Profile
from staging.service.http_client import HttpClient
from staging.service.process import die_with_parent, set_process_name

_REPORT_EVERY_S = 0.25


async def _obey(generator: Generator, command: dict[str, Any]) -> dict[str, object]:
    value = command.get("value")
    match command["do"]:
        case "rate":
            generator.set_rate(float(str(value)))
        case "weight_factor":
            generator.set_weight_factor(float(str(value)))
        case "pause":
            generator.set_paused(paused=True)
        case "resume":
            generator.set_paused(paused=False)
        case "drain":
            return {"drained": await generator.drain(float(str(value)))}
        case "reset":
            generator.reset()
        case unknown:
            raise ValueError(f"unknown command {unknown!r}")
    return {}


async def _serve(generator: Generator) -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    sending = asyncio.create_task(generator.run())
    reporting = asyncio.create_task(_report_forever(generator))
    while line := await reader.readline():
        command = json.loads(line)
        answer = {"number": command["number"]}
        try:
            answer["done"] = await _obey(generator, command)
        except (ValueError, KeyError) as error:
            answer["error"] = str(error)
        _write(generator, answer)
    sending.cancel()
    reporting.cancel()


async def _report_forever(generator: Generator) -> None:
    while True:
        await asyncio.sleep(_REPORT_EVERY_S)
        _write(generator, {})


def _write(generator: Generator, answer: dict[str, object]) -> None:
    sys.stdout.write(json.dumps({**answer, "status": generator.describe()}) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Send load until standard input closes; exit 2 on a wrong command line."""
    if len(sys.argv) != 7:  # noqa: PLR2004 - the program and its six arguments
        sys.stderr.write(f"{__doc__}\n")
        sys.exit(2)
    parent, host, port, keys_file, source, seed = sys.argv[1:]
    die_with_parent(int(parent))
    set_process_name("load")
    chance = random.Random(int(seed))  # noqa: S311 - repeatable load, no secret
    profile = Profile(json.loads(Path(keys_file).read_text()), chance)

    async def run() -> None:
        await _serve(Generator(HttpClient(host, int(port), source), profile, chance))

    asyncio.run(run())


if __name__ == "__main__":
    main()

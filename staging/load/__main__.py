"""The load as a program: `python -m staging.load PARENT_PID HOST PORT KEYS_FILE SEED`.

Commands are JSON lines on standard input, each answered by one on standard output,
where the load's status also comes four times a second.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from staging.load.generator import Generator
from staging.service.process import die_with_parent, set_process_name

if TYPE_CHECKING:
    from collections.abc import Callable

_REPORT_EVERY_S = 0.25
_MOST_KEY_BYTES = 4096


# What a command is called is what the generator does; its values are that method's arguments.
_ORDERS: dict[str, Callable[..., None]] = {
    "rate": Generator.set_rate,
    "weight_factor": Generator.set_weight_factor,
    "evenness": Generator.set_evenness,
    "tenant_rate": Generator.set_tenant_rate,
    "retries": Generator.set_retries,
    "polling": Generator.set_polling,
    "attack": Generator.set_attack,
    "paused": Generator.set_paused,
    "reset": Generator.reset,
}


async def _obey(generator: Generator, name: str, values: dict[str, Any]) -> dict[str, object]:
    if name == "drain":
        return {"drained": await generator.drain(**values)}
    if name == "key":
        file = values["file"]
        key = await asyncio.to_thread(_read_key, file) if file else None
        generator.set_key(values["tenant"], key)
    elif name in _ORDERS:
        _ORDERS[name](generator, **values)
    else:
        raise ValueError(f"unknown command {name!r}")
    return {}


def _read_key(path: str) -> str:
    """Return the API key that a file holds: as text, or as the JSON answer to issuing it."""
    text = Path(path).read_bytes()[:_MOST_KEY_BYTES].decode().strip()
    return str(json.loads(text)["api_key"]) if text.startswith("{") else text


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
            answer["done"] = await _obey(generator, command["do"], command["values"])
        except (ValueError, KeyError, OSError) as error:
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
    if len(sys.argv) != 6:  # noqa: PLR2004 - the program and its five arguments
        sys.stderr.write(f"{__doc__}\n")
        sys.exit(2)
    parent, host, port, keys_file, seed = sys.argv[1:]
    die_with_parent(int(parent))
    set_process_name("load")
    keys = json.loads(Path(keys_file).read_text())

    async def run() -> None:
        await _serve(Generator(host, int(port), keys, int(seed)))

    asyncio.run(run())


if __name__ == "__main__":
    main()

"""Operations for a helper process in tests."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from mfenv import errors

Payload = dict[str, Any]


async def echo(payload: Payload, emit: Any) -> Any:
    await asyncio.sleep(payload.get("seconds", 0))
    return payload


async def fail(payload: Payload, emit: Any) -> Any:
    raise getattr(errors, payload["kind"])(payload["message"], hint=payload["hint"], output=payload["output"])


async def unsolvable(payload: Payload, emit: Any) -> Any:
    raise errors.ResolutionFailed("no", packages=payload["packages"])


async def crash(payload: Payload, emit: Any) -> Any:
    raise ZeroDivisionError("by nothing")


async def panic(payload: Payload, emit: Any) -> Any:
    raise BaseException("like a panic in Rust")  # noqa: TRY002


async def noisy(payload: Payload, emit: Any) -> Any:
    print("printed by Python", flush=True)
    os.write(1, b"written to the descriptor\n")
    subprocess.run([sys.executable, "-c", "print('printed by a child')"], check=True)
    return "still an answer"


async def read_input(payload: Payload, emit: Any) -> Any:
    return sys.stdin.read()


async def unspeakable(payload: Payload, emit: Any) -> Any:
    return object()


async def die(payload: Payload, emit: Any) -> Any:
    """Write down the visit and die, as long as there were fewer than `until` visits before."""
    visits = Path(payload["visits"])
    with visits.open("a") as file:
        file.write(f"{os.getpid()}\n")
    if len(visits.read_text().splitlines()) >= payload["until"]:
        return "alive"
    print("the last words", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
    return None


async def events(payload: Payload, emit: Any) -> Any:
    for number in range(payload["count"]):
        emit({"number": number})
    return "done"


async def where(payload: Payload, emit: Any) -> Any:
    import json
    import queue

    return {"pid": os.getpid(), "path": sys.path, "modules": [json.__file__, queue.__file__]}


async def hang(payload: Payload, emit: Any) -> Any:
    Path(payload["pid_file"]).write_text(str(os.getpid()))
    time.sleep(120)


async def files(payload: Payload, emit: Any) -> Any:
    import resource

    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]

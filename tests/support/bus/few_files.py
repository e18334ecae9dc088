"""A member in a process that may open few files: `python -m tests.support.bus.few_files BUS CARRIER LIMIT`.

Whatever it does either works or raises a BusError. The last line says how far it came, and which errors it saw.
"""

import asyncio
import contextlib
import json
import os
import resource
import sys
from typing import Any

from transports.bus import Bus, BusError, BusOptions, Policy, SubscribeOptions


async def main(name: str, carrier: Any, limit: int) -> dict[str, Any]:
    named: list[str] = []
    raw: list[str] = []

    def note(where: str, error: BaseException) -> None:
        (named if isinstance(error, BusError) else raw).append(f"{where}: {error!r}")

    asyncio.get_running_loop().set_exception_handler(lambda _, context: raw.append(repr(context)))
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    try:
        bus = await Bus.join(name, BusOptions(carrier=carrier, on_error=note, join_within=3.0))
    except BusError as error:
        return {"joined": False, "named": [repr(error)], "raw": raw, "files": len(os.listdir("/proc/self/fd"))}
    worked = 0
    others = [member for member in bus.members() if member != bus.id]
    reliable = SubscribeOptions(policy=Policy.RELIABLE)

    async def attempt(work: Any) -> None:
        nonlocal worked
        try:
            await work
            worked += 1
        except BusError as error:
            named.append(repr(error))

    async def publish(size: int) -> None:
        await bus.publish("t", bytes(size)).settled(within=0.3)

    await attempt(bus.subscribe("t", lambda message: None))
    await attempt(bus.subscribe("u", lambda message: None, reliable))
    for size in (10, 100_000, 200_000, 400_000):
        await attempt(publish(size))
    for member in others:
        for size in (10, 100_000, 200_000):
            await attempt(bus.ask(member, bytes(size), within=1.0))
    await attempt(bus.register(f"few/{os.getpid()}", lambda request: request.reply(1)))
    held = []
    with contextlib.suppress(OSError):
        while True:
            held.append(os.open(os.devnull, os.O_RDONLY))
    for member in others:
        await attempt(bus.ask(member, bytes(800_000), within=1.0))
    await attempt(publish(1_600_000))
    for fd in held:
        os.close(fd)
    before = worked
    await attempt(publish(10))
    for member in others:
        await attempt(bus.ask(member, 1, within=5.0))
    await bus.leave()
    return {"joined": True, "worked": worked, "recovered": worked > before, "named": named, "raw": raw}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))) + "\n")

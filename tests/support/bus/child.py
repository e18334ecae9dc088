"""Member of a bus in a separate process, driven by lines: `python -m tests.support.bus.child BUS JSON`.

Each line of input is a JSON list [verb, arguments...]; events are JSON lists on its output. So a test can kill or stop
a real process at a chosen step, and then read what it received before.
"""

import asyncio
import json
import os
import signal
import sys
import zlib
from pathlib import Path
from typing import Any

from transports.bus import Bus, BusOptions, Gap, Message, Policy, Request, SubscribeOptions, failpoints

SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


def body(n: int, size: int) -> dict[str, Any]:
    """Payload whose content can be verified."""
    filler = bytes((n + i) % 256 for i in range(size))
    return {"n": n, "data": filler, "crc": zlib.crc32(filler)}


def intact(payload: dict[str, Any]) -> bool:
    return zlib.crc32(payload["data"]) == payload["crc"]


def large(size: int) -> bytes:
    return os.urandom(1 << 20) * (size >> 20)


def peak() -> int:
    """Peak memory of this process in bytes."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def took(message: Message | Request, before: int) -> None:
    tell("took", zlib.crc32(message.payload), len(message.payload), before, peak())


def tell(*event: Any) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


class Child:
    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.seen = self.torn = self.missing = 0
        self.last: dict[str, int] = {}
        self.replies = 0

    def message(self, message: Message) -> None:
        self.seen += 1
        self.torn += not intact(message.payload)
        expected = self.last.get(message.member, message.seq - 1) + 1
        self.missing += message.seq - expected  # without a Gap in between
        self.last[message.member] = message.seq

    def event(self, event: Any) -> None:
        if isinstance(event, Gap):
            self.last[event.writer] = event.last
        tell(type(event).__name__)

    def echo(self, request: Request) -> None:
        if request.topic != "silent":
            request.reply(request.payload)

    async def do(self, verb: str, *arguments: Any) -> None:
        match verb:
            case "failpoint":
                step, action, after = arguments
                if step.startswith("zmq"):
                    failpoints.arm(step, action, after + 1)
                else:
                    from transports.bus.rings.native import failpoint

                    failpoint(step, SIGNALS[action], after)
            case "subscribe":
                pattern, policy = arguments
                options = SubscribeOptions(policy=Policy(policy), on_event=self.event)
                await self.bus.subscribe(pattern, self.message, options)
            case "register":
                await self.bus.register(arguments[0], self.echo)
            case "publish":
                topic, count, size = arguments
                for n in range(count):
                    await self.bus.publish(topic, body(n, size))
                    if n % 20 == 0:
                        await asyncio.sleep(0)
            case "flood":  # for so many seconds, as fast as it goes
                topic, seconds, size = arguments
                until = asyncio.get_running_loop().time() + seconds
                n = 0
                while asyncio.get_running_loop().time() < until:
                    for _ in range(64):
                        self.bus.publish(topic, body(n, size))
                        n += 1
                    await asyncio.sleep(0)
            case "send":
                name, size = arguments
                await self.bus.send(name, bytes(size))
            case "ask":
                name, count = arguments
                for n in range(count):
                    await self.bus.ask(name, n)
                    self.replies += 1
            case "publish_large":
                topic, size = arguments
                payload = large(size)
                before = peak()
                await self.bus.publish(topic, payload).settled(within=60)
                tell("large", zlib.crc32(payload), before, peak())
            case "send_large":
                name, size = arguments
                payload = large(size)
                before = peak()
                await self.bus.ask(name, payload, within=60)
                tell("large", zlib.crc32(payload), before, peak())
            case "take_large":
                before = peak()
                await self.bus.subscribe(arguments[0], lambda message: took(message, before))
                await self.bus.register(arguments[0], lambda request: request.reply(took(request, before)))
            case "report":
                counters = self.bus.status().counters
                tell("report", self.seen, self.torn, self.missing, counters)
            case "leave":
                await self.bus.leave()
        tell("done", verb)


async def main() -> None:
    name, options = sys.argv[1], json.loads(sys.argv[2])
    bus = await Bus.join(name, BusOptions(**options))
    child = Child(bus)
    tell("joined", bus.id)
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        await child.do(*json.loads(line))
    await bus.leave()


if __name__ == "__main__":
    asyncio.run(main())

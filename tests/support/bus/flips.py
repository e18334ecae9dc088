"""Members whose shared memory gets random bit flips: `python -m tests.support.bus.flips SECONDS SEED`.

The first process holds two honest members: one publishes and asks, the other hears everything. The processes that it
starts join again and again and change bits in what they share: rings, pages, bells, large payloads. Ends with a line of
JSON about what was seen; by a signal, or not at all, where a reader could not bear it.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

from transports.bus import Bus, BusOptions, Gap, Message, Policy, SubscribeOptions
from transports.bus.errors import BusError
from transports.bus.rings.native import HEADER

_FLIPPERS = 2
_LIVES = 18  # of each flipper, at most: a run of seconds is for joining and leaving as much as for what is between
# Of the header of a segment: what it is, `oldest`, `tail`, or what other kinds have there.
_SPAN = [*range(64, 72), *range(128, 136)]
_WORDS = [*range(44), *range(64, 80), *range(128, 136)]


class Flipper:
    """Changes bits in what this process shares, wherever it is mapped to be written to."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def flip(self) -> None:
        mapped = self._mapped()
        if not mapped:
            return
        begin, end, name = self._chance.choice(mapped)
        records = end - begin - HEADER
        where = self._chance.random()
        if where < 0.2 or not records:
            at = self._chance.choice(_SPAN if name.endswith("ring") and where < 0.15 else _WORDS)
        elif name.endswith("page"):
            at = HEADER + self._chance.randrange(8 * 128)
        elif name.endswith("ring") and where < 0.8:  # what others are about to read
            written = ctypes.c_uint64.from_address(begin + 128).value
            at = HEADER + (written - self._chance.randrange(1, 300)) % records
        else:
            at = HEADER + self._chance.randrange(records)
        ctypes.c_ubyte.from_address(begin + at).value ^= 1 << self._chance.randrange(8)

    @staticmethod
    def _mapped() -> list[tuple[int, int, str]]:
        found = []
        for line in Path("/proc/self/maps").read_text().splitlines():
            where, access, *_, name = line.split(maxsplit=5)
            if access.startswith("rw-s") and "memfd:three-mode" in name:
                begin, end = (int(number, 16) for number in where.split("-"))
                found.append((begin, end, name.removesuffix(" (deleted)")))
        return found


async def live(bus: str, seconds: float, seed: int) -> None:
    """One life of a member that harms itself: it joins, talks, and its bits are flipped."""
    chance, flipper = random.Random(seed), Flipper(seed)
    options = BusOptions(
        carrier="rings", label="flipped", ring_bytes=1 << 16, pair_bytes=1 << 16, create=False, on_error=_unheard
    )
    until = time.monotonic() + seconds
    member = await Bus.join(bus, options)
    with contextlib.suppress(BusError, RuntimeError, TimeoutError):
        policy = chance.choice([Policy.LOSSY, Policy.LATEST, Policy.RELIABLE])
        await member.subscribe(
            "t.>", lambda message: None, SubscribeOptions(policy=policy, replay=chance.choice([0, 10]))
        )
        while time.monotonic() < until:
            for _ in range(chance.randrange(30)):
                member.publish(f"t.{chance.randrange(3)}", bytes(chance.randrange(400)))
            if chance.random() < 0.2:
                member.publish("t.large", bytes(100_000))
            member.send("x", "small" if chance.random() < 0.9 else bytes(100_000))
            for _ in range(chance.randrange(4)):
                flipper.flip()
            await asyncio.sleep(0.001)
    with contextlib.suppress(BusError, RuntimeError, TimeoutError):
        async with asyncio.timeout(2):
            await member.leave()


def _unheard(where: str, error: BaseException) -> None:
    """What it makes of its own ruins is not looked at."""


def tell(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


async def flip(bus: str, seconds: float, seed: int) -> None:
    until = time.monotonic() + seconds
    life = 0
    while time.monotonic() < until:
        life += 1
        await live(bus, seconds / _LIVES, 1_000_003 * seed + life)
    tell(life)


class Heard:
    """What the honest reader hears, by writer."""

    def __init__(self, honest: str) -> None:
        self._honest = honest
        self._next = 0
        self.honest = self.others = self.lost = self.replies = self.evicted = 0
        self.errors: list[tuple[str, str]] = []
        self.wrong: list[str] = []

    def message(self, message: Message) -> None:
        if message.member != self._honest:
            self.others += 1
            return
        if self._next and message.seq != self._next:
            self.wrong.append(f"{message.seq} instead of {self._next}")
        self._next = message.seq + 1
        self.honest += 1

    def event(self, event: Any) -> None:
        if isinstance(event, Gap) and event.writer == self._honest:
            self._next = event.last + 1
            self.lost += event.count

    def error(self, where: str, error: BaseException) -> None:
        self.errors.append((where, str(error)))


async def watch(seconds: float, seed: int) -> None:
    name = f"flips-{os.getpid()}-{seed}"
    trouble: list[tuple[str, BaseException]] = []
    options = {"carrier": "rings", "hold_within": 0.2}
    async with await Bus.join(name, BusOptions(**options, on_error=lambda *told: trouble.append(told))) as writer:
        heard = Heard(writer.id)
        async with await Bus.join(name, BusOptions(**options, on_error=heard.error, label="reader")) as reader:
            known: set[str] = set()
            reader.watch(lambda change: known.add(getattr(getattr(change, "member", None), "id", "")))
            await reader.subscribe("t.>", heard.message, SubscribeOptions(on_event=heard.event))
            await reader.register("x", lambda request: request.reply(request.payload))
            await writer.wait_for("x")
            flippers = [
                await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    __spec__.name,
                    name,
                    str(seconds),
                    str(_FLIPPERS * seed + n),
                    stdout=asyncio.subprocess.PIPE,
                )
                for n in range(_FLIPPERS)
            ]
            try:
                published = await talk(writer, heard, flippers)
            finally:
                for process in flippers:
                    if process.returncode is None:
                        process.kill()
            lives = [int(await process.stdout.read() or 0) for process in flippers if process.stdout is not None]
            async with asyncio.timeout(20):
                while heard.honest + heard.lost < published:  # noqa: ASYNC110 - nobody to set an event
                    await asyncio.sleep(0.01)
            tell(
                json.dumps(
                    {
                        "published": published,
                        "honest": heard.honest,
                        "lost": heard.lost,
                        "others": heard.others,
                        "replies": heard.replies,
                        "wrong": heard.wrong[:5],
                        "ended": [process.returncode for process in flippers],
                        "lives": sum(lives),
                        "dropped": sorted({where for where, error in heard.errors if "its ring holds" in error}),
                        "honest_ids": [writer.id, reader.id],
                        "broken": [bus.status().counters["broken_rings"] for bus in (writer, reader)],
                    }
                )
            )


async def talk(writer: Bus, heard: Heard, flippers: list[asyncio.subprocess.Process]) -> int:
    """Until those that flip have ended."""
    published = 0
    while any(process.returncode is None for process in flippers):
        writer.publish("t.honest", published)
        published += 1
        if published % 10 == 0:
            await writer.ask("x", published, within=10)
            heard.replies += 1
        await asyncio.sleep(0.001)
    return published


if __name__ == "__main__":
    if len(sys.argv) == 4:
        asyncio.run(flip(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])))
    else:
        asyncio.run(watch(float(sys.argv[1]), int(sys.argv[2])))

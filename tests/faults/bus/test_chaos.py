"""Eight members that do everything at random, while they are killed, stopped and started again, the registry's host
first.

What is promised is checked: nothing twice, nothing out of order, nothing missing without a Gap, nothing at all missing
for RELIABLE readers, every ask ended in time, every awaited send delivered to a receiver that lives, no live member
declared dead, and nothing left at the end. Each run prints its seed; THREE_MODE_CHAOS_SEED repeats one, as far as
processes do.
"""

import asyncio
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.bus.chaos import Progress
from tests.support.bus.members import bus_name
from transports.bus.registry.election import runtime_directory

WORKERS = 8
INLINE = 30_000  # bytes: larger payloads may be in a segment


class Life:
    """One process of a worker, from its start to its end."""

    def __init__(self, name: str, folder: Path, process: asyncio.subprocess.Process) -> None:
        self.name, self.folder, self.process = name, folder, process
        self.killed = self.stopped = False
        self.killed_at = 1e18

    def tell(self, *words: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(words).encode() + b"\n")

    def lines(self, word: str) -> list[list[Any]]:
        path = self.folder / f"{self.name}.log"
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []  # the last may be torn by a kill
        return [line[1:] for line in map(json.loads, lines) if line[0] == word]

    @property
    def id(self) -> str:
        found = self.lines("member")
        return found[0][0] if found else ""

    def progress(self) -> tuple[int, int]:
        path = self.folder / f"{self.name}.progress"
        if not path.exists() or not path.stat().st_size:
            return 0, 0
        progress = Progress(path, make=False)
        try:
            return progress.get()
        finally:
            progress.close()


class Chaos:
    """Starts the workers, harms them for some seconds, and checks what all of them wrote."""

    def __init__(self, folder: Path, carrier: str, seed: int) -> None:
        self.folder, self.carrier = folder, carrier
        self.chance = random.Random(seed)
        self.bus = bus_name()
        self.lives: list[Life] = []
        self.now: dict[int, Life] = {}

    async def start(self, number: int) -> None:
        name = f"w{number}.{len(self.lives)}"
        given = {
            "name": name,
            "register": f"n{number}",
            "folder": str(self.folder),
            "seed": self.chance.randrange(1 << 30),
            "carrier": self.carrier,
            "workers": WORKERS,
            "bus": self.bus,
        }
        with (self.folder / f"{name}.err").open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "tests.support.bus.chaos", json.dumps(given)),
                stdin=asyncio.subprocess.PIPE,
                stderr=errors,
            )
        self.now[number] = life = Life(name, self.folder, process)
        self.lives.append(life)

    async def run(self, seconds: float) -> list[str]:
        try:
            for number in range(WORKERS):
                await self.start(number)
            await self.wait_for("ready", 60)
            ends = time.monotonic() + seconds
            while time.monotonic() < ends:
                await asyncio.sleep(self.chance.uniform(0.05, 0.6))
                await self.harm()
            await self.wait_for("ready", 60)
            return await self.end()
        finally:
            for life in self.lives:
                if life.process.returncode is None:
                    life.process.kill()
                await life.process.wait()
                life.process._transport.close()  # type: ignore[attr-defined]

    async def harm(self) -> None:
        hosts = [number for number, life in self.now.items() if life.progress()[1]]
        number = self.chance.choice(hosts) if hosts and self.chance.random() < 0.4 else self.chance.randrange(WORKERS)
        life = self.now[number]
        self.check_running(life)
        if self.chance.random() < 0.5:
            life.stopped = True
            life.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(self.chance.uniform(0.02, 0.8))
            life.process.send_signal(signal.SIGCONT)
        elif life.lines("ready"):
            life.killed, life.killed_at = True, time.monotonic()
            life.process.kill()
            await life.process.wait()
            await asyncio.sleep(self.chance.uniform(0.0, 0.3))
            await self.start(number)

    async def wait_for(self, word: str, within: float) -> None:
        async with asyncio.timeout(within):
            while not all(life.lines(word) for life in self.now.values()):
                for life in self.now.values():
                    self.check_running(life)
                await asyncio.sleep(0.05)

    def check_running(self, life: Life) -> None:
        if life.process.returncode not in (None, 0):
            raise AssertionError(f"{life.name} ended: {self.errors(life)}")

    def errors(self, life: Life) -> str:
        return (self.folder / f"{life.name}.err").read_text()[-3000:]

    async def end(self) -> list[str]:
        for life in self.now.values():
            life.tell("quiet")
        await self.wait_for("quiet", 60)
        finals = {line[0]: line[1] for life in self.now.values() for line in life.lines("quiet")}
        if self.carrier == "rings":  # what a killed writer had placed is delivered; ZeroMQ's queues end with it
            finals |= {life.id: life.progress()[0] for life in self.lives if life.killed and life.id}
        last, *others = self.now.values()
        for life in others:
            life.tell("finish", finals)
        for life in others:
            async with asyncio.timeout(60):
                await life.process.wait()
        last.tell("finish", finals)  # members that leave in one moment may each take another for the last
        await self.wait_for("summary", 60)
        for life in self.now.values():
            async with asyncio.timeout(30):
                await life.process.wait()
        return self.violations()

    def violations(self) -> list[str]:
        alive, killed = list(self.now.values()), {life.id for life in self.lives if life.killed}
        ends = {life.id: life.killed_at for life in self.lives}
        found = [line[0] for life in self.lives for line in life.lines("violation")]
        for life in self.lives:
            for member, reason, at in life.lines("lost"):
                if at < ends.get(member, 0.0) and reason != "left":
                    found.append(f"{life.name}: live member {member} was declared dead: {reason}")
            for writer, first, last in life.lines("reliable gap"):
                if writer not in killed:
                    found.append(f"{life.name}: a RELIABLE reader lost {first} to {last} of {writer}")
        got = {life.id: life.lines("summary")[0][0]["got"] for life in alive}
        for life in self.lives:
            for member, number, size in life.lines("sent"):
                if life.killed and (self.carrier == "zmq" or size > INLINE):
                    continue  # what ZeroMQ queues in a process, and large payloads, are gone with it
                if member in got and number not in got[member].get(life.name, ()):
                    found.append(f"{life.name}: send {number} to {member} was awaited, and did not arrive")
        for life in alive:
            summary = life.lines("summary")[0][0]
            if life.process.returncode != 0:
                found.append(f"{life.name} ended with {life.process.returncode}: {self.errors(life)}")
            found += [
                f"{life.name}: {what} = {summary[what]} at the end: {summary['links']}"
                for what in ("missed_wakes", "pending", "memfds")
                if summary[what]
            ]
            if summary["files"] > 0:
                found.append(f"{life.name}: {summary['files']} descriptors are left: {summary['links']}")
        left = sorted(path.name for path in runtime_directory().glob(f"{self.bus}.*"))
        if left:
            found.append(f"files are left: {left}")
        return found

    def counts(self) -> dict[str, int]:
        total: dict[str, int] = {}
        for life in self.now.values():
            for line in life.lines("summary"):
                for what, count in line[0]["counts"].items():
                    total[what] = total.get(what, 0) + count
        return total


async def survive(folder: Path, carrier: str, seconds: float, seed: int) -> None:
    sys.stdout.write(f"chaos on {carrier} for {seconds:g} s, seed {seed}\n")
    chaos = Chaos(folder, carrier, seed)
    violations = await chaos.run(seconds)
    counts = chaos.counts()
    killed = sum(life.killed for life in chaos.lives)
    sys.stdout.write("\n".join([f"{len(chaos.lives)} processes, {killed} killed: {counts}", *violations, ""]))
    assert not violations
    assert counts["broadcasts"] > 100
    assert counts["asks"] > 10
    assert counts["sends received"] > 10


def seed() -> int:
    return int(os.environ.get("THREE_MODE_CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("carrier", ["rings", "zmq"])
async def test_chaos(carrier: str, tmp_path: Path) -> None:
    await survive(tmp_path, carrier, 10.0, seed())


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("carrier", ["rings", "zmq"])
async def test_chaos_for_ten_minutes(carrier: str, tmp_path: Path) -> None:
    await survive(tmp_path, carrier, 600.0, seed())

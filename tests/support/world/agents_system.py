"""A system of agents under faults, and the promises that it checks: calls, one-way messages, broadcasts with receipts,
streams, restarts, kept states."""

import asyncio
import time
from collections.abc import AsyncIterator
from random import Random

from tests.support.world.ledger import Ledger, Life, ledger, new_ledger
from three_mode import Agent, handler, on
from three_mode.agents import AgentGroup, Restart
from three_mode.errors import NoSuchAgent, Overloaded, ThreeModeError
from three_mode.testing.world import World, WorldFaults

WORKERS, STEPS = 4, 14
LIMIT, WINDOW = 2, 20.0  # of the agent whose handler raises
SLACK = 0.15  # seconds that a wait may take beyond its deadline: a tick of the bus, and turns of loops
FAULTS = WorldFaults(kills=2, stops=1, slow=1, lossy=1, within=1.0, longest=0.5)


class Worker(Agent):
    """Agent whose every step is in the ledger."""

    def __init__(self) -> None:
        self.life: Life
        self.count = 0

    def restored(self, state: int) -> None:
        self.count = state

    async def started(self) -> None:
        self.life = ledger().begins(self.name)
        kept = ledger().kept[self.name]
        lost = ledger().keeps and self.count < kept
        ledger().wants(not lost, f"{self.name} has lost what it had kept: {self.count} after {kept}")

    async def stopped(self) -> None:
        self.life.ended = True

    @handler
    async def work(self, number: int, seconds: float) -> int:
        ledger().begins_with(number, self.life)
        ledger().wants(not self.life.busy, f"{self.name} works on two messages at once")
        self.life.busy = True
        try:
            await asyncio.sleep(seconds)
        finally:
            self.life.busy = False
        return number

    @handler
    async def fail(self, number: int) -> None:
        ledger().begins_with(number, self.life)
        self.life.failed = True
        raise ValueError("as it was asked to")

    @handler
    async def save(self, number: int) -> int:
        ledger().begins_with(number, self.life)
        self.count += 1
        await self.keep(self.count)
        ledger().kept[self.name] = self.count
        return self.count

    @handler
    async def parts(self, number: int, count: int) -> AsyncIterator[int]:
        ledger().begins_with(number, self.life)
        for part in range(count):
            ahead = ledger().produced[number] - ledger().taken[number]
            ledger().wants(ahead <= ledger().most_ahead, f"stream {number} is {ahead} parts ahead of its reader")
            ledger().produced[number] += 1
            yield part

    @on("news")
    def read(self, number: int) -> None:
        ledger().hears(number, self.life)


class Run:
    """One run of the system: a driver, which does one thing after another, several at once."""

    def __init__(self, world: World) -> None:
        self.world, self.orchestrator = world, world.orchestrator
        self.random = Random(world.seed)
        self.ledger: Ledger = new_ledger()
        self.workers: AgentGroup
        self.number = 0
        self.told: list[int] = []

    async def play(self) -> None:
        """Do it all, and see that the system is whole at the end."""
        self.workers = await self.orchestrator.spawn(Worker, WORKERS, restart=Restart("permanent", limit=50))
        self.fickle = await self.orchestrator.spawn(
            Worker, name="fickle", restart=Restart("transient", limit=LIMIT, within=WINDOW, on_error=True)
        )
        self.world.check(self.limits_hold)
        self.world.check(self.ledger.check)
        verbs = (self.ask, self.ask, self.tell, self.broadcast, self.stream, self.save, self.upset)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(STEPS):
                tasks.create_task(self.random.choice(verbs)())
                await asyncio.sleep(self.random.expovariate(8.0))
        await self.whole_again()

    def limits_hold(self) -> None:
        """Invariant: restart limits."""
        self.ledger.check_restarts("fickle/0", LIMIT, WINDOW)

    def next_number(self) -> int:
        """Return the number of a new message."""
        self.number += 1
        return self.number

    async def in_time(self, what: object, within: float) -> object:
        """Await a call, which ends within its time, well or not; return its result, or its error."""
        began = time.monotonic()
        try:
            return await what  # type: ignore[misc]
        except ThreeModeError as error:
            return error
        finally:
            took = time.monotonic() - began
            assert took <= within + SLACK, f"a call within {within:g} s took {took:g} s"

    async def ask(self) -> None:
        number, within = self.next_number(), self.random.choice((0.05, 0.3, 1.0))
        worker = self.random.choice(self.workers)
        seconds = self.random.choice((0.0, 0.0, 0.02, 0.1))
        result = await self.in_time(worker.ask(Worker.work, number, seconds, within=within), within)
        if not isinstance(result, ThreeModeError):
            assert result == number, f"the answer to {number} is {result!r}"
            assert len(self.ledger.begun[number]) == 1, f"{number} was answered, and nobody has handled it"
        elif isinstance(result, NoSuchAgent | Overloaded):
            assert number not in self.ledger.begun, f"{number} was refused, and handled: {result}"

    async def tell(self) -> None:
        number = self.next_number()
        sent = await self.in_time(self.random.choice(self.workers).tell(Worker.work, number, 0.0), 10.0)
        if sent is None:
            self.told.append(number)

    async def save(self) -> None:
        number = self.next_number()
        await self.in_time(self.random.choice(self.workers).ask(Worker.save, number, within=1.0), 1.0)

    async def upset(self) -> None:
        number = self.next_number()
        result = await self.in_time(self.fickle.ask(Worker.fail, number, within=0.5), 0.5)
        assert isinstance(result, ThreeModeError), f"a handler that raises has answered {result!r}"

    async def stream(self) -> None:
        number, count = self.next_number(), self.random.choice((3, 80, 150))
        slow, leaves = self.random.random() < 0.3, self.random.random() < 0.2
        parts: list[int] = []
        worker = self.random.choice(self.workers)

        async def read() -> None:
            async with worker.stream(Worker.parts, number, count, within=2.0) as stream:
                async for part in stream:
                    assert part == len(parts), f"stream {number}: part {part} after {len(parts)} parts"
                    parts.append(part)
                    self.ledger.taken[number] += 1
                    if slow:
                        await asyncio.sleep(0.005)
                    if leaves and len(parts) == 2:
                        return

        result = await self.in_time(read(), 2.0)
        if result is None and not (leaves and count > 1):
            assert len(parts) == count, f"stream {number} ended well after {len(parts)} of {count} parts"

    async def broadcast(self) -> None:
        number = self.next_number()
        receipt = self.orchestrator.broadcast("news", number)
        await self.in_time(receipt, 5.0)
        within = self.random.choice((0.1, 0.5))
        seen = await self.in_time(receipt.settled(within=within), within)
        heard = self.ledger.heard_by(number)
        if isinstance(seen, ThreeModeError):
            return
        counted = seen.seen + seen.lagging + seen.lost + seen.dead  # type: ignore[attr-defined]
        assert counted <= WORKERS + 1, f"{seen} counts more agents than there are"
        assert seen.seen <= len(heard), f"{seen}, and heard by {sorted(heard)}"  # type: ignore[attr-defined]

    async def whole_again(self) -> None:
        """Faults are over: all agents answer again, hear what is said, and no message is lost that nobody reports."""
        await asyncio.sleep(max(0.0, FAULTS.within + FAULTS.longest + 0.5 - self.world.now))
        for worker in self.workers:
            await self.answers(worker)
        number = self.next_number()
        receipt = await self.orchestrator.broadcast("news", number)
        seen = await receipt.settled(within=3.0)
        listeners = sum(lives[-1].lives for lives in self.ledger.lives.values())
        missing = seen.lagging + seen.lost + seen.dead
        assert (seen.seen, missing) == (listeners, 0), f"all is well, {listeners} listen, and {seen}"
        lost = [number for number in self.told if number not in self.ledger.begun]
        unsafe = any(type(fault).__name__ == "KillProcess" for fault in self.world.played)
        letters = await self.orchestrator.dead_letters() if lost else []
        assert not lost or unsafe or letters, f"{lost} were sent, and neither handled nor reported"

    async def answers(self, worker: object) -> None:
        """See that a worker answers within some seconds."""
        until = time.monotonic() + 10.0
        while True:
            number = self.next_number()
            result = await self.in_time(worker.ask(Worker.work, number, 0.0, within=2.0), 2.0)  # type: ignore[attr-defined]
            if result == number:
                return
            assert time.monotonic() < until, f"{worker} does not come back: {result!r}"
            await asyncio.sleep(0.1)


async def play(world: World) -> None:
    """Program of a world."""
    await Run(world).play()

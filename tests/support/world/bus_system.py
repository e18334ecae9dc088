"""Members of a bus under faults, and the promises that they check: names, calls, streams with credit, order, gaps and
receipts of broadcasts, while members die, the registry's host among them."""

import asyncio
import time
from collections import defaultdict
from random import Random
from typing import Any

from three_mode.testing.world import World, WorldFaults, WorldProcess
from transports.bus import Bus, BusError, BusOptions, Gap, Kind, Message, Policy, Request, SubscribeOptions

PROGRAMS = ("left", "middle", "right")
STEPS, CREDIT = 12, 4
SLACK = 0.15  # seconds that a wait may take beyond its deadline: a tick of the bus, and turns of loops
FAULTS = WorldFaults(also=PROGRAMS, kills=2, stops=1, slow=1, lossy=1, within=1.0, longest=0.5)
WORLD: dict[str, Any] = {"hosts": None}


class Heard:
    """What one subscription has heard of one writer: numbers and gaps, without a hole and in order."""

    def __init__(self) -> None:
        self.last = 0
        self.numbers: set[int] = set()

    def takes(self, seq: int) -> None:
        assert self.last == 0 or seq == self.last + 1, f"number {seq} after {self.last}, and no gap between"
        self.last = seq
        self.numbers.add(seq)

    def misses(self, gap: Gap) -> None:
        assert self.last == 0 or gap.first == self.last + 1, f"{gap} after {self.last}"
        self.last = gap.last


class Member:
    """A program on the bus."""

    def __init__(self, run: "Run", name: str) -> None:
        self.run, self.name = run, name
        self.heard: dict[str, Heard] = defaultdict(Heard)
        self.bus: Bus
        self.process: WorldProcess
        self.ready = False

    async def live(self, world: World) -> None:
        """Join, serve, and listen, until somebody kills it or all is over."""
        options = BusOptions(label=self.name, on_error=self.run.failed)
        async with await Bus.join("world", options) as self.bus:
            await self.bus.register(self.name, self.serve)
            policy = self.run.random.choice((Policy.LOSSY, Policy.RELIABLE))
            await self.bus.subscribe("news", self.hear, SubscribeOptions(policy, on_event=self.event))
            self.ready = True
            await self.run.until(lambda: self.run.over, 3600.0, nap=0.2)
            self.ready = False

    def hear(self, message: Message) -> None:
        self.heard[message.member].takes(message.seq)

    def event(self, event: Any) -> None:
        if isinstance(event, Gap):
            self.heard[event.writer].misses(event)

    def serve(self, request: Request) -> None:
        number = request.payload
        self.run.served[number] += 1
        assert self.run.served[number] == 1, f"request {number} was served twice"
        if request.kind is Kind.STREAM:
            self.tasks = asyncio.ensure_future(self.stream(request, number))
        elif request.kind is Kind.ASK:
            asyncio.get_running_loop().call_later(self.run.random.choice((0.0, 0.05)), self.answer, request, number)

    def answer(self, request: Request, number: int) -> None:
        if not request.cancelled:
            request.reply(number)

    async def stream(self, request: Request, number: int) -> None:
        parts = request.open_stream()
        try:
            for part in range(20):
                await parts.send(part)
                self.run.sent[number] = part + 1
                ahead = part + 1 - self.run.taken[number]
                if ahead > CREDIT:
                    self.run.failures.append(f"stream {number} is {ahead} parts ahead of its reader")
            parts.end()
        except BusError:
            pass  # its reader has left


class Run:
    """One run: a driver, which is a member too, and the programs that it starts again when they are killed."""

    def __init__(self, world: World) -> None:
        self.world, self.random = world, Random(world.seed)
        self.served: dict[int, int] = defaultdict(int)
        self.sent: dict[int, int] = defaultdict(int)
        self.taken: dict[int, int] = defaultdict(int)
        self.members: list[Member] = []
        self.here = Member(self, "driver")
        self.over = False
        self.number = 0
        self.failures: list[str] = []

    def failed(self, where: str, error: BaseException) -> None:
        """Note what a callback of a member has raised: an assertion of this test is one too."""
        if isinstance(error, AssertionError):
            self.failures.append(f"{where}: {error}")

    def nothing_failed(self) -> None:
        """Invariant: no callback has found anything."""
        assert not self.failures, self.failures[0]

    async def play(self) -> None:
        """Do it all, and see that the bus is whole at the end."""
        self.world.check(self.nothing_failed)
        keeper = asyncio.ensure_future(self.start_again())
        for name in PROGRAMS:  # the first hosts the registry
            self.start(name)
            await self.until(lambda: all(member.ready for member in self.members), 10.0)
        driver = asyncio.ensure_future(self.here.live(self.world))
        await self.until(lambda: self.here.ready, 10.0)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(STEPS):
                tasks.create_task(self.random.choice((self.ask, self.publish, self.stream, self.name))())
                await asyncio.sleep(self.random.expovariate(10.0))
        await self.whole_again()
        keeper.cancel()
        self.over = True
        await driver

    def start(self, name: str) -> None:
        """Start a program."""
        member = Member(self, name)
        member.process = self.world.start(member.live, name)
        self.members.append(member)

    async def start_again(self) -> None:
        """Start programs again that were killed, or do without them."""
        while True:
            await asyncio.sleep(0.2)
            for member in list(self.members):
                if not member.process.alive:
                    assert member.process.exit_code == -9, f"{member.name}: {member.process.failure!r}"
                    self.members.remove(member)
                    if self.random.random() < 0.6:
                        self.start(member.name)

    async def until(self, condition: Any, within: float, nap: float = 0.02) -> None:
        """Wait until something is so, at most `within` seconds."""
        ends = time.monotonic() + within
        while not condition():
            assert time.monotonic() < ends, "it has not come true in time"
            await asyncio.sleep(nap)

    async def in_time(self, what: Any, within: float) -> Any:
        """Await a call, which ends within its time, well or not; return its result, or its error."""
        began = time.monotonic()
        try:
            return await what
        except BusError as error:
            return error
        finally:
            took = time.monotonic() - began
            assert took <= within + SLACK, f"a call within {within:g} s took {took:g} s"

    def next_number(self) -> int:
        self.number += 1
        return self.number

    async def ask(self) -> None:
        number, within = self.next_number(), self.random.choice((0.1, 0.5))
        result = await self.in_time(self.asked(number, within), within)
        if not isinstance(result, BusError):
            assert result.payload == number, f"the answer to {number} is {result.payload}"

    async def asked(self, number: int, within: float) -> Any:
        return await self.here.bus.ask(self.random.choice(PROGRAMS), number, within=within)

    async def name(self) -> None:
        """Register a name, and give it back: with a registry or between two."""
        name = f"name-{self.next_number()}"
        if await self.in_time(self.here.bus.register(name, self.here.serve), 11.0) is None:
            assert self.here.bus.locate(name) == self.here.bus.id, f"{name} is registered, and is not there"
            await self.in_time(self.here.bus.unregister(name), 11.0)

    async def stream(self) -> None:
        number, parts = self.next_number(), 0

        async def read() -> None:
            nonlocal parts
            async with self.here.bus.stream(self.random.choice(PROGRAMS), number, within=1.0, credit=CREDIT) as stream:
                async for part in stream:
                    assert part.payload == parts, f"stream {number}: part {part.payload} after {parts} parts"
                    parts += 1
                    self.taken[number] += 1

        if await self.in_time(read(), 1.0) is None:
            assert parts == 20, f"stream {number} ended well after {parts} parts"

    async def publish(self) -> None:
        bus, within = self.here.bus, self.random.choice((0.1, 0.5))
        before = [member for member in self.members if member.ready and member.process.alive]
        receipt = bus.publish("news", self.next_number())
        placed = await self.in_time(receipt, 5.0)
        if isinstance(placed, BusError):
            return
        settled = await self.in_time(receipt.settled(within), within + 0.1)
        counted = settled.seen + settled.lagging + settled.lost + settled.dead
        there = len(before) + 1
        assert counted >= there, f"{settled} counts {counted} subscriptions, and there were {there}"
        if settled.complete and all(member in self.members for member in before):
            for member in [*before, self.here]:
                heard = receipt.seq in member.heard[bus.id].numbers
                assert heard, f"{settled}, and {member.name} has not heard {receipt.seq}"

    async def whole_again(self) -> None:
        """Faults are over: all names are known everywhere, all answer, and a broadcast reaches all."""
        await asyncio.sleep(max(0.0, FAULTS.within + FAULTS.longest + 0.5 - self.world.now))
        await self.until(lambda: all(member.ready for member in self.members), 20.0)
        await self.until(self.all_agree, 20.0)
        for member in self.members:
            number = self.next_number()
            reply = await self.here.bus.ask(member.name, number, within=2.0)
            assert reply.payload == number
        receipt = await self.here.bus.publish("news", self.next_number())
        settled = await receipt.settled(2.0)
        assert (settled.seen, settled.complete) == (len(self.members) + 1, True), f"all is well, and {settled}"

    def all_agree(self) -> bool:
        """Whether all members have the same directory, which is true."""
        members = [*self.members, self.here]
        wanted = {member.name: member.bus.id for member in members}
        ids = set(wanted.values())
        return all(dict(one.bus.names()) == wanted and one.bus.members().keys() == ids for one in members)


async def play(world: World) -> None:
    """Program of a world."""
    await Run(world).play()

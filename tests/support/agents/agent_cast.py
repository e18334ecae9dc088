"""Agents that tests spawn. Hosts import this module by name."""

import asyncio
import ctypes
import enum
import logging
import multiprocessing
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from three_mode import Agent, handler, on


class Mood(enum.Enum):
    CALM = "calm"
    LOUD = "loud"


@dataclass
class Opinion:
    author: str
    score: float
    mood: Mood = Mood.CALM


class Scout(Agent):
    """Has the handlers of the first example."""

    def __init__(self, bias: float = 0.0, mood: Mood = Mood.CALM, home: Path = Path("/")) -> None:
        self.bias, self.mood, self.home, self.seen, self.born_as = bias, mood, home, 0, self.name

    @handler
    async def score(self, text: str) -> float:
        return len(text) + self.bias

    @handler
    def plain(self, text: str) -> str:
        return f"{self.name} {text}"

    @handler
    async def opinion(self, text: str) -> Opinion:
        return Opinion(self.name, len(text), self.mood)

    @handler
    async def explain(self, text: str) -> AsyncIterator[str]:
        for word in text.split():
            yield word

    @on("news.*")
    def read(self, item: dict[str, Any]) -> None:
        self.seen += 1

    @handler
    def count(self) -> int:
        return self.seen

    @handler
    def birth(self) -> list[str]:
        return [self.born_as, str(self.home), self.mood.value]

    @handler
    def pid(self) -> int:
        return os.getpid()

    @handler
    async def fail(self, why: str) -> None:
        raise RuntimeError(why)


class Slow(Agent):
    """Waits, and reports whether its wait was cancelled."""

    mailbox = 4

    def __init__(self) -> None:
        self.log: list[str] = []
        self.running = self.most = 0

    @handler
    async def wait(self, seconds: float) -> str:
        self.log.append("begun")
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.log.append("cancelled")
            raise
        self.log.append("done")
        return "done"

    @handler(concurrent=3)
    async def beside(self, seconds: float) -> int:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.running -= 1
        return self.most

    @handler(concurrent=8)
    def said(self) -> list[str]:
        return self.log

    @handler
    async def numbers(self, count: int) -> AsyncIterator[int]:
        self.log.append("streaming")
        try:
            for number in range(count):
                self.log.append(str(number))
                yield number
        finally:
            self.log.append("left")

    @handler(concurrent=8)
    def left(self) -> float:
        return self.remaining()

    @handler
    async def hurried(self, seconds: float) -> float:
        """Seconds that the agent it asks had left."""
        return float(await self.ref("slow/1").ask(Slow.left, within=seconds))

    @on("work.>")
    async def work(self, item: dict[str, Any]) -> None:
        self.log.append(f"work {item['n']}")
        await asyncio.sleep(item.get("seconds", 0))


@dataclass
class Picky:
    """Refuses all constructor arguments but one, with its own exception."""

    number: int

    def __post_init__(self) -> None:
        {1: "one"}[self.number]


class Faulty(Agent):
    """Fails in every way."""

    def __init__(self, fail: str = "") -> None:
        self.state = 0
        if fail:
            raise ValueError(fail)

    @handler
    async def bump(self) -> int:
        self.state += 1
        return self.state

    @handler
    async def boom(self, text: str) -> None:
        raise KeyError(text)

    @handler
    def boom_inline(self) -> None:
        raise RuntimeError("inline")

    @handler
    async def leave(self) -> None:
        raise SystemExit(3)

    @handler
    async def unsendable(self) -> Any:
        return object()

    @handler
    async def picky(self) -> Picky:
        return {"number": 2 if self.name.endswith("/0") else 1}  # type: ignore[return-value]

    @handler
    def sized(self, size: int) -> bytes:
        return bytes(size if self.name.endswith("/0") else 1)

    @handler
    async def wrong_type(self) -> int:
        return "text"  # type: ignore[return-value]

    @handler
    async def stream_then_boom(self) -> AsyncIterator[int]:
        yield 1
        raise ValueError("half way")

    @handler
    async def stream_unsendable(self) -> AsyncIterator[Any]:
        yield object()

    @handler
    async def stubborn(self) -> None:
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                continue

    @handler
    def block(self, seconds: float) -> str:
        time.sleep(seconds)
        return "woke"

    @handler
    async def die(self) -> None:
        os._exit(7)

    @handler
    def end(self) -> None:
        self.stop()

    @handler
    async def end_slowly(self, seconds: float) -> str:
        await asyncio.sleep(seconds)
        self.stop()
        await asyncio.sleep(seconds)
        return "ended"

    @on("bad.*")
    def on_bad(self, item: dict[str, int]) -> None:
        if item["n"] == self.state:
            raise ValueError(f"{self.name} does not like {item['n']}")


class Caller(Agent):
    """Asks other agents."""

    @handler
    async def ring(self, way: list[str]) -> list[str]:
        """Asks the next agent of the ring, which asks the one after it."""
        if not way:
            return [self.name]
        answer: list[str] = await self.ref(way[0]).ask(Caller.ring, way[1:])
        return [self.name, *answer]

    @handler(concurrent=4)
    async def ring_beside(self, way: list[str]) -> list[str]:
        if not way:
            return [self.name]
        answer: list[str] = await self.ref(way[0]).ask(Caller.ring_beside, way[1:])
        return [self.name, *answer]

    @handler
    async def remember(self, to: str) -> str:
        self.ref(to).tell(Caller.ring, [])
        return "told"

    @handler
    async def spread(self, topic: str) -> int:
        seen = await self.broadcast(topic, {"n": 1}).settled(2.0)
        return seen.seen

    @handler
    async def votes(self, group: str, text: str) -> float:
        return float(sum(await self.group(group).gather(Scout.score, text, within=5)))

    @handler
    async def through(self, agent: str, text: str) -> list[str]:
        return [word async for word in self.ref(agent).stream(Scout.explain, text)]


class Steady(Agent):
    """Has handlers that may run twice."""

    @handler(idempotent=True)
    async def square(self, number: int, seconds: float) -> int:
        await asyncio.sleep(seconds)
        return number * number


class Lagging(Agent):
    """Falls behind its messages."""

    def __init__(self) -> None:
        self.heard = self.lost = 0

    @on("flood.*")
    def hear(self, item: dict[str, Any]) -> None:
        self.heard += 1

    @handler
    def block(self, seconds: float) -> None:
        time.sleep(seconds)

    @handler
    def counts(self) -> tuple[int, int]:
        return self.heard, self.lost

    def missed(self, event: Any) -> None:
        self.lost += getattr(event, "count", 0)


class Hooked(Agent):
    """Writes its lifecycle to a file."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.write("init")

    def write(self, text: str) -> None:
        with self.log.open("a") as file:
            file.write(f"{self.name} {text}\n")

    async def started(self) -> None:
        await asyncio.sleep(0)
        self.write("started")

    async def stopped(self) -> None:
        self.write("stopped")

    @handler
    async def hello(self) -> str:
        return "hello"

    @handler
    async def wait(self, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "hello"


class Keeper(Agent):
    """Keeps every number that it receives, and how often."""

    def __init__(self) -> None:
        self.heard: dict[int, int] = {}

    @on("flow.>", delivery="reliable")
    def hear(self, item: int) -> None:
        self.heard[item] = self.heard.get(item, 0) + 1

    @handler
    def sums(self) -> tuple[int, int, int]:
        """Number of different numbers, number of all, and their sum."""
        return len(self.heard), sum(self.heard.values()), sum(self.heard)


class Publisher(Agent):
    @handler
    async def publish(self, first: int, count: int) -> None:
        """Broadcasts the numbers; awaiting each lets reliable readers slow it down."""
        for number in range(first, first + count):
            await self.broadcast(f"flow.{self.name.replace('/', '-')}", number)
            if number % 64 == 0:
                await asyncio.sleep(0)


class Late(Agent):
    """Starts slowly, and ends its process at a chosen point of its life."""

    def __init__(self, seconds: float = 0.0, leaves: str = "") -> None:
        self.seconds, self.leaves, self.heard = seconds, leaves, 0
        self.leave("init")

    def leave(self, where: str) -> None:
        if where == self.leaves:
            raise SystemExit(3)

    async def started(self) -> None:
        self.ready = False
        await asyncio.sleep(self.seconds)
        self.ready = True
        self.leave("started")

    async def stopped(self) -> None:
        self.leave("stopped")

    @handler
    def hello(self) -> bool:
        return self.ready

    @handler
    async def boom(self) -> None:
        raise ValueError("boom")

    @on("late.*")
    def hear(self, item: int) -> None:
        self.heard += 1

    @handler
    def count(self) -> int:
        return self.heard


class Once(Agent):
    """Can be constructed only while a file does not exist; its constructor creates the file."""

    def __init__(self, path: Path) -> None:
        path.touch(exist_ok=False)

    @handler
    def hello(self) -> str:
        return "hello"


class Ailing(Agent):
    """Starts fast in its first life; `times` later lives take `seconds` to start.

    The file gets a line for each life.
    """

    def __init__(self, lives: Path, seconds: float, times: int = 1000, blocks: bool = False, only: str = "") -> None:
        with lives.open("a") as file:
            file.write(f"{self.name}\n")
        self.life = lives.read_text().split().count(self.name)
        slow = 2 <= self.life <= times + 1 and only in ("", self.name)
        self.seconds = seconds if slow else 0.0
        if blocks:
            time.sleep(self.seconds)
            self.seconds = 0.0

    async def started(self) -> None:
        if self.seconds:
            await asyncio.sleep(self.seconds)

    @handler
    def which(self) -> int:
        return self.life

    @handler
    async def boom(self) -> None:
        raise ValueError("boom")


class Brief(Agent):
    """Does all its work while it starts."""

    async def started(self) -> None:
        self.stop()


def end_process(how: str) -> None:
    """Ends this process without a word: `segfault` or `exit`."""
    if how == "segfault":
        ctypes.string_at(0)
    os._exit(5)


class Fatal(Agent):
    """Ends its process while it is made, in its life number `life` and all later ones.

    The file gets a line for each life. `only`: the one agent that does so. `where`: `init`, `started`, or `thread` (in
    `started`, on another thread).
    """

    def __init__(
        self, how: str, lives: Path, life: int = 1, only: str = "", where: str = "init", times: int = 99
    ) -> None:
        with lives.open("a") as file:
            file.write(f"{self.name}\n")
        self.life = lives.read_text().split().count(self.name)
        self.how, self.where = how, where
        self.fatal = life <= self.life < life + times and only in ("", self.name)
        if self.fatal and where == "init":
            end_process(how)

    async def started(self) -> None:
        await asyncio.sleep(0)
        if self.fatal and self.where == "started":
            end_process(self.how)
        if self.fatal and self.where == "thread":
            await asyncio.to_thread(end_process, self.how)

    @handler
    def which(self) -> int:
        return self.life

    @handler
    def pid(self) -> int:
        return os.getpid()


class Hanging(Agent):
    """Blocks its host while it is made, from its life number `life` on. The file gets a line for each life."""

    def __init__(self, lives: Path, life: int = 1, seconds: float = 600.0) -> None:
        with lives.open("a") as file:
            file.write(f"{self.name}\n")
        self.life = lives.read_text().split().count(self.name)
        if self.life >= life:
            time.sleep(seconds)

    @handler
    def which(self) -> int:
        return self.life


class Forking(Agent):
    """Forks its process, and returns in both."""

    def __init__(self, log: Path, where: str = "") -> None:
        self.log, self.child = log, 0
        if where == "init":
            self.fork()

    def fork(self) -> int:
        self.child = os.fork()
        return self.child

    def write(self, text: str) -> None:
        with self.log.open("a") as file:
            file.write(f"{text}\n")

    @handler
    def plain(self) -> int:
        return self.fork()

    @handler
    async def returns(self) -> int:
        return self.fork()

    @handler
    async def waits(self) -> int:
        child = self.fork()
        await asyncio.sleep(0.1)
        return child

    @handler
    async def late(self) -> int:
        await asyncio.sleep(0.1)
        return self.fork()

    @handler
    async def thread(self) -> int:
        return await asyncio.to_thread(self.fork)

    @handler
    def from_init(self) -> int:
        return self.child

    @on("fork.all")
    def hear(self, item: str) -> None:
        self.write(f"{self.name} {item}")
        if self.name.endswith("/3"):
            self.fork()

    @handler
    def stays(self) -> int:
        """A child that does not come back, until a signal ends it."""
        child = self.fork()
        while not child:
            time.sleep(60)
        return child

    @handler
    def forked(self) -> int:
        return self.child

    def work(self) -> None:
        self.write("worked")
        logging.getLogger("forking").error("logged by a child")

    @handler
    async def works(self) -> list[int]:
        """Ends of a child of `multiprocessing`, and of a command with a `preexec_fn`."""
        process = multiprocessing.get_context("fork").Process(target=self.work)
        process.start()
        await asyncio.to_thread(process.join)
        command = await asyncio.create_subprocess_exec("true", preexec_fn=os.getpid)
        return [process.exitcode or 0, await command.wait()]


class Stopper(Agent):
    """Stops its event loop."""

    @handler
    def stop_loop(self) -> None:
        asyncio.get_running_loop().stop()

    @handler
    async def stop_loop_later(self) -> None:
        asyncio.get_running_loop().call_soon(asyncio.get_running_loop().stop)
        await asyncio.sleep(0.05)

    @on("stop.all")
    async def hear(self, item: str) -> None:
        asyncio.get_running_loop().stop()


class Loud(Agent):
    """Logs, and raises where nobody waits."""

    @handler
    def log(self, level: int, text: str) -> None:
        logging.getLogger("loud.voice").log(level, text, extra={"request_id": self.name})

    @handler
    def log_error(self) -> None:
        try:
            _ = {}["missing"]
        except KeyError:
            logging.getLogger("loud").exception("it is %s", "gone")

    @handler
    def flood(self, count: int) -> None:
        for number in range(count):
            logging.getLogger("loud").error("flood %d", number)

    @handler
    async def from_thread(self) -> None:
        await asyncio.to_thread(logging.getLogger("loud").error, "from a thread")

    @handler
    def told(self, text: str) -> None:
        raise ValueError(text)

    @handler
    async def told_later(self, text: str) -> None:
        await asyncio.sleep(0.01)
        raise ValueError(text)

    async def stopped(self) -> None:
        if self.name.startswith("ending"):
            raise LookupError("at the end")

    @on("loud.plain")
    def plain(self, item: str) -> None:
        raise LookupError(item)

    @on("loud.now")
    async def now_(self, item: str) -> None:
        if self.name.endswith("/0"):
            raise LookupError(item)

    @on("loud.later")
    async def later(self, item: str) -> None:
        await asyncio.sleep(0.01)
        raise LookupError(item)

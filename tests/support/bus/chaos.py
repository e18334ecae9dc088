"""A member that does everything at random and checks what it gets: `python -m tests.support.bus.chaos JSON`.

It publishes, sends, asks and answers with payloads of 1 byte to 40 MB, until the line "quiet" comes; at "finish" it
waits for the last messages, leaves, and writes what it saw. Numbers that a SIGKILL must not take with it are in a file
that is mapped (`Progress`), and sends that were awaited in a log that is written line by line.
"""

import asyncio
import json
import logging
import math
import mmap
import os
import random
import struct
import sys
import time
import zlib
from pathlib import Path
from typing import Any

from transports.bus import (
    Bus,
    BusError,
    BusOptions,
    Evicted,
    Gap,
    MemberJoined,
    MemberLost,
    Message,
    NameTaken,
    Policy,
    RemoteError,
    Request,
    SubscribeOptions,
    WriterGone,
)

LATE = 0.5  # seconds after its deadline in which an ask has to end
_TICK = 0.02
_SIZES = ((0.86, 1, 4000), (0.985, 4000, 200_000), (0.9985, 200_000, 4_000_000), (1.0, 4_000_000, 40_000_000))


class Progress:
    """Numbers of one process that outlive it: messages published, and whether it hosts the registry."""

    FORMAT = struct.Struct("<QQ")

    def __init__(self, path: Path, make: bool) -> None:
        if make:
            path.write_bytes(bytes(self.FORMAT.size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), self.FORMAT.size)

    def set(self, published: int, hosts: bool) -> None:
        self.FORMAT.pack_into(self._map, 0, published, hosts)

    def get(self) -> tuple[int, int]:
        published, hosts = self.FORMAT.unpack_from(self._map)
        return published, hosts

    def close(self) -> None:
        self._map.close()


class Track:
    """Broadcasts of one writer, as this reader gets them."""

    def __init__(self, after: int | None) -> None:
        self.last = after  # None: it published before this reader subscribed, so any number may come first
        self.evicted = False


class Worker:
    """One member. `violations` is what must be empty at the end."""

    def __init__(self, name: str, folder: Path, seed: int, carrier: Any, workers: int) -> None:
        self.name, self.folder = name, folder
        self.chance = random.Random(seed)
        self.carrier, self.workers = carrier, workers
        self.policy = self.chance.choice([Policy.LOSSY, Policy.RELIABLE])
        self.progress = Progress(folder / f"{name}.progress", make=True)
        self.log = os.open(folder / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.bus: Bus
        self.published = self.placed = 0  # messages given to the bus, and messages in the ring
        self.tracks: dict[str, Track] = {}
        self.subscribed = math.inf
        self.later: set[str] = set()  # members that joined after this one subscribed
        self.sent: dict[str, int] = {}  # by name of the receiver: number of the last message
        self.got: dict[str, list[int]] = {}  # by sender: numbers, in the order in which they came
        self.counts: dict[str, int] = {}
        self.lag = 0.0  # seconds in which this process did not run, or its loop was busy
        self.quiet = asyncio.Event()
        self.finish = asyncio.Event()
        self.finals: dict[str, int] = {}

    def write(self, *line: Any) -> None:
        os.write(self.log, json.dumps(line).encode() + b"\n")

    def violation(self, text: str) -> None:
        self.write("violation", f"{self.name} ({self.policy.value}): {text}")

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def payload(self, n: int) -> list[Any]:
        share = self.chance.random()
        low, high = next((low, high) for below, low, high in _SIZES if share < below)
        data = self.chance.randbytes(64) * (self.chance.randint(low, high) // 64 + 1)
        return [self.name, n, zlib.crc32(data), data]

    def intact(self, payload: Any, what: str) -> None:
        if zlib.crc32(payload[3]) != payload[2]:
            self.violation(f"{what} {payload[1]} of {payload[0]} is torn")

    # --- what comes ------------------------------------------------------------------------------------------------
    def message(self, message: Message) -> None:
        self.count("broadcasts")
        payload = message.payload
        track = self.track(message.member)
        if track.last is not None and message.seq <= track.last:
            self.violation(f"message {message.seq} of {message.member} after {track.last}: twice, or out of order")
        elif track.last is not None and message.seq != track.last + 1:
            self.violation(f"message {message.seq} of {message.member} after {track.last}: missing, and in no gap")
        track.last = message.seq
        if payload[1] != message.seq:
            self.violation(f"message {payload[1]} of {payload[0]} came as number {message.seq}")
        self.intact(payload, "broadcast")

    def track(self, member: str) -> Track:
        found = self.tracks.get(member)
        if found is None:
            found = self.tracks[member] = Track(0 if member in self.later or member == self.bus.id else None)
        return found

    def event(self, event: Any) -> None:
        self.count(type(event).__name__)
        if isinstance(event, WriterGone):
            return
        track = self.track(event.writer)
        if isinstance(event, Gap):
            if track.last is not None and event.first != track.last + 1:
                self.violation(f"gap {event.first} to {event.last} of {event.writer} after {track.last}")
            track.last = event.last
            settled = time.monotonic() - self.subscribed > 1.0  # what was published before it subscribed may be a gap
            if self.policy is Policy.RELIABLE and not track.evicted and settled:
                self.write("reliable gap", event.writer, event.first, event.last)
        elif isinstance(event, Evicted):
            track.evicted = True

    def changed(self, change: Any) -> None:
        if isinstance(change, MemberJoined):
            if self.subscribed < math.inf:
                self.later.add(change.member.id)
        elif isinstance(change, MemberLost) and not self.quiet.is_set():
            self.write("lost", change.member.id, change.reason, time.monotonic())

    def request(self, request: Request) -> None:
        payload = request.payload
        self.intact(payload, "request")
        if request.tells:
            numbers = self.got.setdefault(payload[0], [])
            if numbers and payload[1] <= numbers[-1]:
                self.violation(f"send {payload[1]} of {payload[0]} after {numbers[-1]}: twice, or out of order")
            numbers.append(payload[1])
            self.count("sends received")
        elif self.chance.random() < 0.9:
            large = bytes(1_000_000) if self.chance.random() < 0.01 else b""
            request.reply([payload[2], len(payload[3]), large])

    def on_error(self, where: str, error: BaseException) -> None:
        self.count(f"on_error {type(error).__name__}")
        if not isinstance(error, BusError):
            self.violation(f"on_error: {where}: {error!r}")
        if isinstance(error, RemoteError) and error.remote_code == "payload_lost":
            self.write("payload lost", where)
        else:
            self.write("note", where, repr(error)[:300])

    # --- what it does ----------------------------------------------------------------------------------------------
    async def publish(self) -> None:
        try:
            receipt = self.bus.publish("chaos.all", self.payload(self.published + 1))
        except BusError as error:
            self.count(f"publish {type(error).__name__}")
            await asyncio.sleep(0.01)
            return
        self.published += 1
        await receipt
        self.placed = max(self.placed, receipt.seq)
        self.progress.set(self.placed, self.hosts)
        if self.chance.random() < 0.02:
            await receipt.settled(within=0.2)

    @property
    def hosts(self) -> bool:
        return self.bus._carrier._membership._server is not None  # type: ignore[attr-defined]

    def other(self) -> str:
        return f"n{self.chance.randrange(self.workers)}"

    async def send(self) -> None:
        to = self.other()
        member = self.bus.locate(to)
        number = self.sent[to] = self.sent.get(to, 0) + 1
        payload = self.payload(number)
        try:
            sent = self.bus.send(to, payload)
            async with asyncio.timeout(30):
                await sent
        except BusError as error:
            self.count(f"send {type(error).__name__}")
        except TimeoutError:
            self.violation(f"send {number} to {to} did not end in 30 s")
        else:
            self.count("sends")
            self.write("sent", member, number, len(payload[3]))

    async def ask(self) -> None:
        within = self.chance.choice([0.05, 0.3, 1.0, 3.0])
        payload = self.payload(0)
        started, lag = time.monotonic(), self.lag
        try:
            answer = (await self.bus.ask(self.other(), payload, within=within)).payload
            if answer[:2] != [payload[2], len(payload[3])]:
                self.violation("a wrong reply")
            self.count("asks")
        except BusError as error:
            self.count(f"ask {type(error).__name__}")
        ended = time.monotonic()
        await asyncio.sleep(3 * _TICK)  # until a pause that just ended is in `lag`
        late = ended - started - within - (self.lag - lag)
        if late > LATE:
            self.violation(f"an ask with within={within} ended {late:.2f} s after its deadline")

    async def act(self) -> None:
        while not self.quiet.is_set():
            action = self.chance.choices([self.publish, self.send, self.ask], [6, 2, 2])[0]
            await action()
            await asyncio.sleep(self.chance.expovariate(1 / 0.004))

    async def watch_time(self) -> None:
        """Measure how late this loop runs: what is late only for that is not the bus's fault."""
        last = time.monotonic()
        while True:
            await asyncio.sleep(_TICK)
            now = time.monotonic()
            self.lag += max(0.0, now - last - _TICK)
            last = now
            self.progress.set(self.placed, self.hosts)

    # --- life ------------------------------------------------------------------------------------------------------
    async def commands(self) -> None:
        reader = asyncio.StreamReader(limit=1 << 20)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            word, *arguments = json.loads(line)
            if word == "quiet":
                self.quiet.set()
            elif word == "finish":
                self.finals = arguments[0]
                self.finish.set()
        self.quiet.set()
        self.finish.set()

    async def register(self, name: str) -> None:
        while True:
            try:
                return await self.bus.register(name, self.request)
            except NameTaken:  # by the process before this one, which was killed a moment ago
                await asyncio.sleep(0.02)

    async def run(self, bus: str, name: str) -> None:
        if self.carrier == "zmq":
            make_zero_copy_ready()
        files = len(os.listdir("/proc/self/fd"))
        self.bus = await Bus.join(
            bus, BusOptions(carrier=self.carrier, label=self.name, on_error=self.on_error, join_within=20.0)
        )
        self.write("member", self.bus.id)
        self.bus.watch(self.changed)
        options = SubscribeOptions(policy=self.policy, on_event=self.event)
        commands = asyncio.create_task(self.commands())
        ticking = asyncio.create_task(self.watch_time())
        await self.bus.subscribe("chaos.>", self.message, options)
        self.subscribed = time.monotonic()
        await self.register(name)
        self.write("ready")
        await asyncio.gather(*(self.act() for _ in range(3)))
        self.progress.set(self.published, self.hosts)
        self.write("quiet", self.bus.id, self.published)
        await self.finish.wait()
        await self.last_messages()
        summary = {
            "id": self.bus.id,
            "policy": self.policy.value,
            "got": self.got,
            "counts": self.counts,
            "missed_wakes": self.bus.status().counters["missed_wakes"],
            "pending": self.bus._calls.pending,
        }
        ticking.cancel()
        started = time.monotonic()
        await self.bus.leave(within=10)
        summary["leaving"] = time.monotonic() - started
        await asyncio.sleep(0.1)
        summary["files"] = len(os.listdir("/proc/self/fd")) - files - 1  # the watched pipe's own
        links = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if self._is_open(fd)]
        summary["links"] = links
        summary["memfds"] = sum("three-mode" in link for link in links)
        self.write("summary", summary)
        commands.cancel()

    @staticmethod
    def _is_open(fd: str) -> bool:
        return os.path.lexists(f"/proc/self/fd/{fd}")

    async def last_messages(self) -> None:
        """Wait until this reader has all that living writers published; what is missing then is lost."""

        def missing() -> list[str]:
            return [
                f"{member}: {self.track(member).last} of {last}"
                for member, last in self.finals.items()
                if (member in self.tracks or member in self.later) and (self.track(member).last or 0) < last
            ]

        for _ in range(1000):
            if not missing():
                return
            await asyncio.sleep(0.01)
        self.violation(f"the last messages of living writers did not come: {missing()}")


def make_zero_copy_ready() -> None:
    """Send once without a copy: from then on pyzmq keeps a context of its own, which belongs to no bus."""
    import zmq

    with zmq.Context() as context, context.socket(zmq.PAIR) as a, context.socket(zmq.PAIR) as b:
        a.bind("inproc://once")
        b.connect("inproc://once")
        a.send(bytes(100_000), copy=False)
        b.recv()


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    given = json.loads(sys.argv[1])
    worker = Worker(given["name"], Path(given["folder"]), given["seed"], given["carrier"], given["workers"])
    asyncio.run(worker.run(given["bus"], given["register"]))


if __name__ == "__main__":
    main()

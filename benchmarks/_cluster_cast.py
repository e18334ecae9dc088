"""Programs of the clusters' benchmarks, each on its machine: `python -m benchmarks._cluster_cast CORE NAME WORD...`

Each says "ready", does one round for each line of its input and answers with a line, and ends when its input ends.
"""

import asyncio
import os
import struct
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from importlib import import_module
from typing import Any

import msgspec
import uvloop

from benchmarks.bus_peers.board import PAYLOAD
from benchmarks.harness import cores
from three_mode import Agent, Orchestrator, handler, on
from three_mode.agents import NodeLost
from three_mode.cluster import Cluster
from three_mode.errors import PeerLost

STAMP = struct.Struct("<q")
ENDS = "THREE_MODE_BENCH_ENDS"  # path of the pipe that stamps go to
PATIENT = 60.0
_encode, _decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode

Round = Callable[[], Awaitable[object]]

_readers = _ran = 0  # readers of this process, and those that have run their handler


def count_me() -> None:
    """Counts a reader of this process."""
    global _readers
    _readers += 1


def tick() -> None:
    """Counts the handlers of this process that have run; writes the time to the pipe when all of a broadcast have."""
    global _ran
    _ran += 1
    if _ran == _readers:
        _ran = 0
        pipe = os.open(os.environ[ENDS], os.O_WRONLY)
        os.write(pipe, STAMP.pack(time.monotonic_ns()))
        os.close(pipe)


class Echo(Agent):
    """Answers with the number of an item."""

    @handler
    async def echo(self, item: dict[str, Any]) -> int:
        return int(item["id"])

    @handler(concurrent=1000)
    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    @handler
    def pid(self) -> int:
        return os.getpid()


class Reader(Agent):
    """Counts what it reads."""

    def __init__(self) -> None:
        count_me()

    @on("news.*")
    def read(self, item: dict[str, Any]) -> None:
        tick()

    @handler
    async def echo(self, item: dict[str, Any]) -> int:
        return int(item["id"])


async def answer_rounds(one: Round | None = None) -> None:
    """Says "ready", and answers each line of input with a round's result."""
    print("ready", flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(await one() if one is not None else "", flush=True)


async def node(stack: AsyncExitStack, url: str, name: str, hosts: int = 1, **offer: Any) -> Orchestrator:
    """Opens a node."""
    cluster = Cluster(url, name="bench", node=name, connect_within=PATIENT, **offer)
    return await stack.enter_async_context(
        Orchestrator(hosts=hosts, name=f"bench-{name}-{os.getpid()}", cluster=cluster)
    )


def timed(one: Round, calls: str) -> Round:
    """Round of calls: seconds of one."""

    async def round_() -> float:
        started = time.perf_counter()
        for _ in range(int(calls)):
            await one()
        return (time.perf_counter() - started) / int(calls)

    return round_


# three-mode -----------------------------------------------------------------------------------------------------------
async def agents(url: str, name: str, kind: str, count: str) -> None:
    """Node with agents in one host; a round is the processor time of its gateway's process so far."""

    async def cpu() -> float:
        return time.process_time()

    async with AsyncExitStack() as stack:
        orc = await node(stack, url, name)
        await orc.spawn({"Echo": Echo, "Reader": Reader}[kind], int(count), name=name)
        await answer_rounds(cpu)


async def ask_agent(url: str, other: str, calls: str) -> None:
    """Node that asks an agent of another one."""
    async with AsyncExitStack() as stack:
        orc = await node(stack, url, f"asks-{other}", hosts=0)
        await orc.bus.wait_for(f"{other}/0", within=PATIENT)
        agent = orc.ref(f"{other}/0")
        await answer_rounds(timed(lambda: agent.ask("echo", PAYLOAD, within=PATIENT), calls))


async def publish_to_agents(url: str, other: str, count: str) -> None:
    """Node with readers in one host, which publishes to them and to those of another node."""
    async with AsyncExitStack() as stack:
        orc = await node(stack, url, "publisher")
        await orc.spawn(Reader, int(count), name="near")
        await orc.bus.wait_for([f"{other}/{number}" for number in range(int(count))], within=PATIENT)
        for _ in range(200):  # patterns travel behind names
            if (await orc.broadcast("other.news", {}).settled(within=1.0)).complete:
                break

        async def publish() -> int:
            started = time.monotonic_ns()
            await orc.broadcast("news.eu", PAYLOAD)
            return started

        await answer_rounds(publish)


async def lose(url: str, other: str, calls: str) -> None:
    """Node whose calls wait for an agent when its node is killed; a round is the seconds until all are told."""
    async with AsyncExitStack() as stack:
        orc = await node(stack, url, "loser", hosts=0)

        async def round_() -> float:
            await orc.bus.wait_for(f"{other}/0", within=PATIENT)
            agent = orc.ref(f"{other}/0")
            waiting = [asyncio.ensure_future(agent.ask("wait", 300.0, within=300)) for _ in range(int(calls))]
            await asyncio.sleep(1.0)
            print("kill", flush=True)
            killed = float(await asyncio.to_thread(sys.stdin.readline))
            ends = await asyncio.gather(*waiting, return_exceptions=True)
            took = time.monotonic() - killed
            assert all(isinstance(end, PeerLost) for end in ends)
            assert any(isinstance(event, NodeLost) for event in orc.events)
            return took

        await answer_rounds(round_)


async def takes_orders(url: str, name: str, label: str) -> None:
    """Node of one host with a label, for agents that others place."""
    async with AsyncExitStack() as stack:
        await node(stack, url, name, labels=(label,), allow=("benchmarks",))

        async def nothing() -> int:
            return 0

        await answer_rounds(nothing)


async def moves(url: str, label: str) -> None:
    """Home of an agent on nodes with a label; a round is the seconds from the end of its node to its next answer."""
    echo = import_module("benchmarks._cluster_cast").Echo  # not __main__'s, which other nodes cannot import
    async with AsyncExitStack() as stack:
        orc = await node(stack, url, "home", hosts=0)

        async def round_() -> float:
            agent = await orc.spawn(echo, 1, name="moved", on=label, within=PATIENT)
            here = [one for one in orc.nodes() if one.state == "here" and label in one.labels]
            print(next(one.name for one in here if one.agents), flush=True)
            killed = float(await asyncio.to_thread(sys.stdin.readline))
            while True:
                try:
                    await agent[0].ask("echo", PAYLOAD, within=PATIENT)
                except PeerLost:
                    await asyncio.sleep(0.01)
                else:
                    break
            took = time.monotonic() - killed
            await orc.stop(agent, within=PATIENT)
            return took

        await answer_rounds(round_)


async def many(url: str, nodes: str, count: str) -> None:
    """Node without agents, which uses those of several others; rounds in turn: seen, broadcast, gather."""
    async with AsyncExitStack() as stack:
        orc = await node(stack, url, "caller", hosts=0)
        groups = [f"many{number}" for number in range(int(nodes))]
        names = [f"{group}/{number}" for group in groups for number in range(int(count))]

        async def round_() -> str:
            started = time.monotonic()
            await orc.bus.wait_for(names, within=PATIENT)
            seen = time.monotonic() - started
            receipt = None
            for _ in range(100):  # patterns travel behind names
                started = time.monotonic()
                receipt = await orc.broadcast("news.eu", PAYLOAD).settled(within=PATIENT)
                cast = time.monotonic() - started
                if receipt.seen == len(names):
                    break
            assert receipt is not None
            assert receipt.seen == len(names), receipt
            started = time.monotonic()
            votes = await asyncio.gather(
                *(orc.group(group).gather("echo", PAYLOAD, within=PATIENT) for group in groups)
            )
            assert sum(map(len, votes)) == len(names)
            return f"{seen} {cast} {time.monotonic() - started}"

        await answer_rounds(round_)


# nats-py --------------------------------------------------------------------------------------------------------------
async def echo_nats(url: str) -> None:
    """Answers requests; a round is the processor time so far."""
    import nats

    client = await nats.connect(url)

    async def arrived(message: Any) -> None:
        await message.respond(_encode(_decode(message.data)["id"]))

    async def cpu() -> float:
        return time.process_time()

    await client.subscribe("echo", cb=arrived)
    await client.flush()
    await answer_rounds(cpu)


async def ask_nats(url: str, calls: str) -> None:
    """Asks by request and reply."""
    import nats

    client = await nats.connect(url)

    async def one() -> int:
        return int(_decode((await client.request("echo", _encode(PAYLOAD), timeout=PATIENT)).data))

    await answer_rounds(timed(one, calls))


async def read_nats(url: str, count: str) -> None:
    """Reads on as many subscriptions."""
    import nats

    client = await nats.connect(url)

    async def arrived(message: Any) -> None:
        _decode(message.data)
        tick()

    for _ in range(int(count)):
        count_me()
        await client.subscribe("news.eu", cb=arrived)
    await client.flush()
    await answer_rounds()


async def publish_nats(url: str) -> None:
    """Publishes; a round is the time at which it did."""
    import nats

    client = await nats.connect(url)

    async def publish() -> int:
        started = time.monotonic_ns()
        await client.publish("news.eu", _encode(PAYLOAD))
        await client.flush()
        return started

    await answer_rounds(publish)


# grpc.aio -------------------------------------------------------------------------------------------------------------
async def echo_grpc(address: str) -> None:
    """Answers calls of bytes."""
    import grpc
    import grpc.aio

    async def echo(data: bytes, context: Any) -> bytes:
        return _encode(_decode(data)["id"])

    server = grpc.aio.server()
    methods = {"Echo": grpc.unary_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench", methods),))
    server.add_insecure_port(address)
    await server.start()
    await answer_rounds()
    await server.stop(None)


async def ask_grpc(address: str, calls: str) -> None:
    """Asks by calls of bytes."""
    import grpc.aio

    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.unary_unary("/bench/Echo")

        async def one() -> int:
            return int(_decode(await call(_encode(PAYLOAD), timeout=PATIENT)))

        await answer_rounds(timed(one, calls))


PROGRAMS: dict[str, Callable[..., Awaitable[None]]] = {
    work.__name__: work
    for work in (
        agents,
        ask_agent,
        publish_to_agents,
        lose,
        takes_orders,
        moves,
        many,
        echo_nats,
        ask_nats,
        read_nats,
        publish_nats,
        echo_grpc,
        ask_grpc,
    )
}


def main() -> None:
    """Runs a program on a core, asyncio's own loop where the peer wants that."""
    core, name, *words = sys.argv[1:]
    if int(core) >= 0:
        cores.seat(int(core))
    run = asyncio.run if "grpc" in name else uvloop.run
    run(PROGRAMS[name](*words))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
